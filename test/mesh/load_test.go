//go:build e2e

package mesh_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
)

// loadAtOnce bounds the requests of a load that wait for their answers, below what
// an Envoy and a queue take.
const loadAtOnce = 400

// maxRequests bounds a load.
const maxRequests = 30_000

// load is requests that go on until stop.
type load struct {
	caller *caller // Nil: the gateway.
	callee string
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu      sync.Mutex // Guards the following.
	answers map[string]int
	good    int
	failed  []string // In words, with the time.
	late    int      // Not sent, as too many waited.
	slowest time.Duration
}

// startLoad has a caller call a service every so often, whether the earlier calls are
// answered or not. What good does not take as an answer counts as failed.
func startLoad(t *testing.T, c *caller, callee, path string, every time.Duration, good func(harness.Response) error) *load {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, c.url(callee, path), nil)
	must(t, "make request", err)
	return startRequests(t, c, callee, c.client(t), req, every, good)
}

// startOutside is startLoad through the gateway.
func startOutside(t *testing.T, callee, path string, every time.Duration, good func(harness.Response) error) *load {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, stack.Agent.URL(path), nil)
	must(t, "make request", err)
	req.Host = callee + "." + harness.Domain
	tr := &http.Transport{MaxIdleConnsPerHost: 512}
	t.Cleanup(tr.CloseIdleConnections)
	return startRequests(t, nil, callee, &http.Client{Transport: tr}, req, every, good)
}

// startRequests sends a request without a body, from a caller or, if that is nil,
// from outside the mesh.
func startRequests(t *testing.T, from *caller, callee string, c *http.Client, req *http.Request, every time.Duration, good func(harness.Response) error) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{caller: from, callee: callee, cancel: cancel, answers: map[string]int{}}
	t.Cleanup(l.stop)
	l.done.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		room := make(chan struct{}, loadAtOnce)
		for range maxRequests {
			select {
			case room <- struct{}{}:
				l.done.Go(func() {
					l.one(c, req, good)
					<-room
				})
			default:
				l.mu.Lock()
				l.late++
				l.mu.Unlock()
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return l
}

// one sends a request that is finished even when the load is stopped.
func (l *load) one(c *http.Client, req *http.Request, good func(harness.Response) error) {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	res, err := harness.Do(c, req.Clone(ctx))
	key := "no answer"
	if err == nil {
		key = answerKey(res)
		err = good(res)
	}
	took := time.Since(begin)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers[key]++
	l.slowest = max(l.slowest, took)
	if err == nil {
		l.good++
		return
	}
	l.failed = append(l.failed, fmt.Sprintf("%s +%v: %v; status %d %q %v",
		begin.Format("15:04:05.000"), took.Round(time.Millisecond), err, res.Status, res.Body, res.Header))
}

// answerKey is what answers are counted by: status and text, without the instance.
func answerKey(res harness.Response) string {
	text, _, _ := strings.Cut(strings.TrimSpace(res.Body), " (instance ")
	return strconv.Itoa(res.Status) + " " + text[:min(len(text), 60)]
}

// from takes answers with status 200 of a revision.
func from(revisions ...string) func(harness.Response) error {
	return func(res harness.Response) error {
		if res.Status != http.StatusOK {
			return errors.New("want status 200")
		}
		if got := res.Header.Get("Hello-Revision"); !slices.Contains(revisions, got) {
			return fmt.Errorf("an answer of %q, want %v", got, revisions)
		}
		return nil
	}
}

// stop ends the load, and returns when all requests are answered.
func (l *load) stop() {
	l.cancel()
	l.done.Wait()
}

// String says what came back.
func (l *load) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	what := "through the gateway"
	if l.caller != nil {
		what = "from " + l.caller.name
	}
	fmt.Fprintf(&b, "%s: %d good, %d failed, %d not sent, slowest %v", what, l.good, len(l.failed), l.late, l.slowest.Round(time.Millisecond))
	for _, k := range slices.Sorted(maps.Keys(l.answers)) {
		fmt.Fprintf(&b, "; %d × %q", l.answers[k], k)
	}
	for _, f := range l.failed[:min(5, len(l.failed))] {
		b.WriteString("\n  " + f)
	}
	if n := len(l.failed); n > 5 {
		b.WriteString("\n  last: " + l.failed[n-1])
	}
	if l.caller != nil && len(l.failed) > 0 {
		b.WriteString("\n  its Envoy so far: " + l.caller.troubles(l.callee))
	}
	return b.String()
}

// count returns how many good and failed answers have come.
func (l *load) count() (good, failed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.good, len(l.failed)
}

// wait waits until n more good answers have come.
func (l *load) wait(t *testing.T, n int) {
	t.Helper()
	had, _ := l.count()
	err := harness.Eventually(t.Context(), waitLong, func() error {
		good, failed := l.count()
		switch {
		case failed > 0:
			return harness.Final(errors.New("requests failed"))
		case good < had+n:
			return fmt.Errorf("%d more answers have come, want %d", good-had, n)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%v: %v", err, l)
	}
}

// wantAll ends the load, and fails the test if a request failed or too few were sent
// to say so.
func (l *load) wantAll(t *testing.T, atLeast int) {
	t.Helper()
	l.stop()
	if good, failed := l.count(); failed > 0 {
		t.Errorf("requests failed, want none: %v", l)
	} else if good < atLeast {
		t.Errorf("too few requests to say, want %d: %v", atLeast, l)
	} else {
		t.Log(l)
	}
}

// metric sums the agent's metrics whose line begins with prefix.
func metric(t *testing.T, prefix string) float64 {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+stack.Agent.Metrics+"/metrics", nil)
	must(t, "make request", err)
	res, err := harness.Do(http.DefaultClient, req)
	must(t, "read metrics", err)
	sum := 0.0
	for line := range strings.Lines(res.Body) {
		if !strings.HasPrefix(line, prefix) {
			continue
		}
		fields := strings.Fields(line)
		v, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			t.Fatalf("metric %q: %v", line, err)
		}
		sum += v
	}
	return sum
}

// activated counts the requests of a service that went through the activator.
func activated(t *testing.T, service string) float64 {
	t.Helper()
	sum := 0.0
	for _, class := range []string{"1xx", "2xx", "3xx", "4xx", "5xx"} {
		sum += metric(t, fmt.Sprintf("wadi_activator_requests_total{class=%q,service=%q}", class, service))
	}
	return sum
}

// waitDirect calls a service until it is answered without an activator.
func waitDirect(t *testing.T, c *caller, service string) {
	t.Helper()
	eventually(t, waitLong, func() error {
		before := activated(t, service)
		res, err := c.send(t, http.MethodGet, service, "/", nil, nil)
		if err != nil {
			return err
		}
		if after := activated(t, service); after > before {
			return fmt.Errorf("call %v went through the activator: status %d", after, res.Status)
		}
		return nil
	})
}
