//go:build e2e

package mesh_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
)

// A service is deleted and submitted again under calls. While it ends, callers learn that
// it does not exist; after the new submission never again, but that they should retry. It
// is ready only when its entries are in Consul. From the app's first answer on, which
// comes as soon as the caller's Envoy knows the service, every call is answered.
func TestResubmit_ReadyMeansThatCallersGetThrough(t *testing.T) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(stack.LogOf("again", 80))
		}
		_ = stack.Agent.Delete(context.WithoutCancel(t.Context()), "again") // It exists only if the test failed.
	})
	for _, initial := range []int{0, 1} {
		hcl := hello("again", options{initial: initial, window: "60s"})
		must(t, "submit", stack.Agent.Apply(t.Context(), hcl))
		waitKnown(t, callerA, "again")
		calls := startCalls(t, callerA, "again")
		must(t, "delete", stack.Agent.Delete(t.Context(), "again"))
		sub, err := stack.Agent.Submit(t.Context(), hcl)
		must(t, "submit again", err)
		submitted := time.Now()
		must(t, "wait until it is ready", stack.Agent.WaitReady(t.Context(), "again", sub.Services[0].Generation))
		ready := time.Now()
		if c, err := network(t, "again"); err != nil || !c.OK {
			t.Errorf("initial = %d: ready, and its network is %+v (%v)", initial, c, err)
		}
		calls.until(t, ready.Add(3*time.Second))
		calls.answered(t, ready)
		through := false
		for _, c := range calls.end() {
			since := c.began.Sub(ready).Round(time.Millisecond)
			if since > 0 && c.status == http.StatusOK && !through {
				through = true
				t.Logf("initial = %d: the first answer after it was ready came to a call at %v", initial, since)
			}
			if c.status == http.StatusNotFound && c.began.After(submitted) || c.status != http.StatusOK && through {
				t.Errorf("initial = %d, %v after it was ready: %d %s", initial, since, c.status, c.body)
			}
		}
		if !through {
			t.Errorf("initial = %d: no call was answered", initial)
		}
		must(t, "delete", stack.Agent.Delete(t.Context(), "again"))
	}
}

// called is one call and its answer.
type called struct {
	began  time.Time
	status int
	body   string
}

// calls are a caller's requests, one after another, on persistent connections.
type calls struct {
	cancel context.CancelFunc
	done   chan struct{}
	mu     sync.Mutex
	all    []called
}

func startCalls(t *testing.T, from *caller, callee string) *calls {
	t.Helper()
	return startCallsOf(t, from.Client(t), from.URL(callee, "/"))
}

func startCallsOf(t *testing.T, client *http.Client, url string) *calls {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c := &calls{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		for ctx.Err() == nil {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
			if err != nil {
				return
			}
			one := called{began: time.Now()}
			res, err := harness.Do(client, req)
			if ctx.Err() != nil {
				return
			}
			one.status, one.body = res.Status, strings.TrimSpace(res.Body)
			if err != nil {
				one.body = err.Error()
			}
			c.mu.Lock()
			c.all = append(c.all, one)
			c.mu.Unlock()
			select {
			case <-ctx.Done():
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(func() { c.end() })
	return c
}

// until waits for a call that began at or after then.
func (c *calls) until(t *testing.T, then time.Time) {
	t.Helper()
	eventually(t, waitLong, func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if n := len(c.all); n == 0 || c.all[n-1].began.Before(then) {
			return fmt.Errorf("%d calls so far", n)
		}
		return nil
	})
}

// answered waits for a good answer to a call that began at or after then, and for a few
// more calls.
func (c *calls) answered(t *testing.T, then time.Time) {
	t.Helper()
	eventually(t, waitLong, func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		i := slices.IndexFunc(c.all, func(one called) bool { return one.status == http.StatusOK && !one.began.Before(then) })
		if i < 0 || len(c.all) < i+20 {
			return fmt.Errorf("%d calls so far, that answered is %d", len(c.all), i)
		}
		return nil
	})
}

// end stops the calls, and returns all of them.
func (c *calls) end() []called {
	c.cancel()
	<-c.done
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all
}
