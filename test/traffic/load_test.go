//go:build e2e

package traffic_test

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// way is how requests reach a service.
type way struct {
	name   string
	client *http.Client
	url    string
	header http.Header
}

// throughGateway calls a service from outside the mesh.
func throughGateway(t *testing.T, service string) way {
	return way{name: "gateway", client: stack.Client(t), url: harnesstest.URL(service, "/")}
}

// throughEnvoy calls a service from inside the mesh.
func throughEnvoy(t *testing.T, service string) way {
	return way{name: "Envoy", client: caller.Client(t), url: caller.URL(service, "/")}
}

// bothWays calls a service through the gateway and through Envoy.
func bothWays(t *testing.T, service string) []way {
	return []way{throughGateway(t, service), throughEnvoy(t, service)}
}

// send sends one request.
func (w way) send(ctx context.Context) (harness.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url, nil)
	if err != nil {
		return harness.Response{}, err
	}
	if w.header != nil {
		req.Header = w.header.Clone()
	}
	return harness.Do(w.client, req)
}

// answer is what became of one request.
type answer struct {
	way      string
	began    time.Time
	took     time.Duration
	revision string // Empty: no app has answered.
	status   int    // 0: no answer came.
}

// load is a stream of requests by several ways, each recorded. Requests that fail are
// counted as failed, those of bad revisions excepted.
type load struct {
	ways    []string
	streams []*harnesstest.Load // Of each way.

	mu      sync.Mutex
	bad     map[string]bool // Revisions that need not answer well.
	answers []answer        // In the order in which they came.
}

// startLoad sends a request by each way every so often.
func startLoad(t *testing.T, every time.Duration, ways ...way) *load {
	t.Helper()
	l := &load{bad: map[string]bool{}}
	for _, w := range ways {
		l.ways = append(l.ways, w.name)
		l.streams = append(l.streams, harnesstest.StartLoad(t, every, 200, func(ctx context.Context) (string, error) {
			return l.one(ctx, w)
		}))
	}
	return l
}

func (l *load) one(ctx context.Context, w way) (string, error) {
	a := answer{way: w.name, began: time.Now()}
	res, err := w.send(ctx)
	a.revision, a.status, a.took = res.Header.Get("Hello-Revision"), res.Status, time.Since(a.began)
	l.mu.Lock()
	l.answers = append(l.answers, a)
	bad := l.bad[a.revision]
	l.mu.Unlock()
	switch {
	case err != nil:
		return "", fmt.Errorf("through %s: %w", w.name, err)
	case a.revision == "" || res.Status != http.StatusOK && !bad:
		return "", fmt.Errorf("through %s: status %d from %q: %.200q %v", w.name, res.Status, a.revision, res.Body, res.Header)
	}
	return a.revision, nil
}

// allowBad lets a revision answer as it likes.
func (l *load) allowBad(revision string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bad[revision] = true
}

// wantAll stops the load when at least so many requests of each way were answered, and
// fails the test if one failed.
func (l *load) wantAll(t *testing.T, atLeast int) {
	t.Helper()
	for _, s := range l.streams {
		s.WantAll(t, atLeast)
	}
	t.Logf("the load: %s", l)
}

// stop ends the load.
func (l *load) stop() {
	for _, s := range l.streams {
		s.Stop()
	}
}

// String summarises the streams.
func (l *load) String() string {
	var b strings.Builder
	for _, s := range l.streams {
		b.WriteString(s.String() + "\n")
	}
	return b.String()
}

// since counts the answers to requests that began at or after a time, by revision.
func (l *load) since(began time.Time, way string) map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	counts := map[string]int{}
	for _, a := range l.answers {
		if !a.began.Before(began) && (way == "" || a.way == way) {
			counts[cmp.Or(a.revision, fmt.Sprintf("status %d", a.status))]++
		}
	}
	return counts
}

// waitAll waits until the last n answers of each way came from a revision, and fails the
// test if a request fails meanwhile.
func (l *load) waitAll(t *testing.T, revision string, n int) {
	t.Helper()
	l.waitRow(t, n, "all from "+revision, func(counts map[string]int) bool { return counts[revision] == n })
}

// waitMix waits until each way had an answer of each of the revisions among its last n.
func (l *load) waitMix(t *testing.T, n int, revisions ...string) {
	t.Helper()
	l.waitRow(t, n, fmt.Sprintf("some of each of %v", revisions), func(counts map[string]int) bool {
		for _, r := range revisions {
			if counts[r] == 0 {
				return false
			}
		}
		return true
	})
}

// waitRow waits until the last n answers of each way satisfy is.
func (l *load) waitRow(t *testing.T, n int, want string, is func(counts map[string]int) bool) {
	t.Helper()
	err := harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
		for _, s := range l.streams {
			if failed := s.Failed(); len(failed) > 0 {
				return harness.Final(fmt.Errorf("requests failed: %s", failed[0]))
			}
		}
		last := l.lastN(n)
		for _, way := range l.ways {
			if counts := last[way]; !is(counts) {
				return fmt.Errorf("the last %d answers through %s: %v, want %s", n, way, counts, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, l)
	}
}

// lastN counts the last n answers of each way by revision.
func (l *load) lastN(n int) map[string]map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	last, seen := map[string]map[string]int{}, map[string]int{}
	for i := len(l.answers) - 1; i >= 0; i-- {
		a := l.answers[i]
		if last[a.way] == nil {
			last[a.way] = map[string]int{}
		}
		if seen[a.way]++; seen[a.way] <= n {
			last[a.way][a.revision]++
		}
	}
	return last
}
