//go:build e2e

package mesh_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// loadAtOnce bounds the unanswered requests of a load, below the limits of an Envoy and a
// queue.
const loadAtOnce = 400

// startLoad lets a caller call a service every so often, without waiting for answers.
// Answers that good rejects count as failed.
func startLoad(t *testing.T, c *caller, callee, path string, every time.Duration, good func(harness.Response) error) *harnesstest.Load {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, c.URL(callee, path), nil)
	must(t, "make request", err)
	return startRequests(t, c, callee, c.Client(t), req, every, good)
}

// startOutside is startLoad through the gateway.
func startOutside(t *testing.T, callee, path string, every time.Duration, good func(harness.Response) error) *harnesstest.Load {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, harnesstest.URL(callee, path), nil)
	must(t, "make request", err)
	return startRequests(t, nil, callee, stack.Client(t), req, every, good)
}

// startRequests sends a request without a body, from a caller or, if that is nil, from
// outside the mesh. If the test fails it shows the answers' statuses and the counters of
// the caller's Envoy.
func startRequests(t *testing.T, from *caller, callee string, c *http.Client, req *http.Request, every time.Duration, good func(harness.Response) error) *harnesstest.Load {
	t.Helper()
	var mu sync.Mutex
	statuses := map[int]int{} // 0: no answer.
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if from == nil {
			t.Logf("calls of %s through the gateway by status: %v", callee, statuses)
		} else {
			t.Logf("calls of %s from %s by status: %v; its Envoy so far: %s", callee, from.Name, statuses, from.ErrorCounters(context.WithoutCancel(t.Context()), callee))
		}
	})
	return harnesstest.StartLoad(t, every, loadAtOnce, func(ctx context.Context) (string, error) {
		res, err := harness.Do(c, req.Clone(ctx))
		mu.Lock()
		statuses[res.Status]++
		mu.Unlock()
		if err != nil {
			return "", err
		}
		if err := good(res); err != nil {
			return "", fmt.Errorf("%w: status %d %q %v", err, res.Status, res.Body, res.Header)
		}
		return strconv.Itoa(res.Status) + " " + res.Body, nil
	})
}

// from accepts answers with status 200 from a revision.
func from(revision string) func(harness.Response) error {
	return func(res harness.Response) error {
		if res.Status != http.StatusOK {
			return errors.New("want status 200")
		}
		if got := res.Header.Get("Hello-Revision"); got != revision {
			return fmt.Errorf("an answer of %q, want %s", got, revision)
		}
		return nil
	}
}

// either accepts answers with one of the statuses.
func either(statuses ...int) func(harness.Response) error {
	return func(res harness.Response) error {
		if !slices.Contains(statuses, res.Status) {
			return fmt.Errorf("got status %d, want one of %v", res.Status, statuses)
		}
		return nil
	}
}

// activated counts the requests of a service that went through the activator.
func activated(t *testing.T, service string) float64 {
	t.Helper()
	sum := 0.0
	for _, class := range []string{"1xx", "2xx", "3xx", "4xx", "5xx"} {
		sum += stack.Metric(t, fmt.Sprintf("wadi_activator_requests_total{class=%q,service=%q}", class, service))
	}
	return sum
}

// waitDirect calls a service until answers come without an activator. An activator counts a
// request when it has ended, which may be after its answer was read: what it counts late, the
// second call of a try shows.
func waitDirect(t *testing.T, c *caller, service string) {
	t.Helper()
	eventually(t, waitLong, func() error {
		before, res := activated(t, service), harness.Response{}
		for range 2 {
			var err error
			if res, err = c.Send(t, http.MethodGet, service, "/", nil, nil); err != nil {
				return err
			}
		}
		if after := activated(t, service); after > before {
			return fmt.Errorf("call %v went through the activator: status %d", after, res.Status)
		}
		return nil
	})
}
