//go:build e2e

package traffic_test

import (
	"context"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// Of 10,000 requests by each way, 90 % go to one revision and 10 % to another, within two
// percentage points: that is more than six standard deviations.
func TestShares_TenThousandRequests(t *testing.T) {
	t.Parallel()
	const requests, within = 10_000, 2.0
	deploy(t, version("shares", "1"))
	deploy(t, version("shares", "2", "90 shares-00001", "10 shares-00002"))
	warm := startLoad(t, 50*time.Millisecond, bothWays(t, "shares")...)
	warm.waitMix(t, 60, "shares-00001", "shares-00002") // Both run, and Envoy knows both.
	warm.wantAll(t, 1)

	var ways sync.WaitGroup
	for _, w := range bothWays(t, "shares") {
		ways.Go(func() {
			percent := float64(countOf(t, w, requests)["shares-00002"]) * 100 / requests
			t.Logf("through %s: %.2f %% of %d requests went to the second revision", w.name, percent, requests)
			if math.Abs(percent-10) > within {
				t.Errorf("through %s: %.2f %% of %d requests went to the second revision, want 10 ± %g", w.name, percent, requests, within)
			}
		})
	}
	ways.Wait()
}

// countOf sends so many requests, sixteen at once, and counts the revisions that answered.
// Another answer than 200 fails the test.
func countOf(t *testing.T, w way, requests int64) map[string]int {
	var (
		sent   atomic.Int64
		all    sync.WaitGroup
		mu     sync.Mutex
		counts = map[string]int{}
	)
	for range 16 {
		all.Go(func() {
			for sent.Add(1) <= requests {
				ctx, cancel := context.WithTimeout(t.Context(), harnesstest.WaitLong)
				res, err := w.send(ctx)
				cancel()
				if err != nil || res.Status != http.StatusOK {
					t.Errorf("through %s: status %d, %v: %s %v", w.name, res.Status, err, res.Body, res.Header)
					return
				}
				mu.Lock()
				counts[res.Header.Get("Hello-Revision")]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return counts
}

// Revisions at zero wake by their share of the requests, by each way: no request fails, and
// both serve.
func TestShares_WakeFromZero(t *testing.T) {
	t.Parallel()
	deploy(t, version("sleepy", "1"))
	deploy(t, version("sleepy", "2", "50 sleepy-00001", "50 sleepy-00002"))
	for _, w := range bothWays(t, "sleepy") {
		for _, revision := range []string{"sleepy-00001", "sleepy-00002"} {
			toZero(t, revision)
		}
		l := startLoad(t, 100*time.Millisecond, w)
		l.waitMix(t, 40, "sleepy-00001", "sleepy-00002")
		l.wantAll(t, 1)
	}
}
