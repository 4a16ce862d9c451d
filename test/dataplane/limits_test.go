//go:build e2e

package dataplane_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// startAgent runs another agent until the test ends.
func startAgent(t *testing.T, name, extra string) *harness.Agent {
	t.Helper()
	a, err := stack.NewAgent(name, extra)
	must(t, "configure an agent", err)
	must(t, "start it", a.Start(t.Context()))
	t.Cleanup(func() { must(t, "stop it", a.Stop(context.WithoutCancel(t.Context()))) })
	must(t, "wait for it", a.WaitLeader(t.Context()))
	return a
}

// at sends requests through an agent's gateway on persistent connections.
func at(t *testing.T, a *harness.Agent, service, path string) harnesstest.Send {
	tr := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(tr.CloseIdleConnections)
	c := &http.Client{Transport: tr}
	return func(ctx context.Context) (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.URL(path), nil)
		if err != nil {
			return "", err
		}
		req.Host = service + "." + harness.Domain
		return harnesstest.Answer(harness.Do(c, req))
	}
}

// TestLimit shows what happens to more requests than an app may get at once.
func TestLimit(t *testing.T) {
	t.Parallel()
	two := startAgent(t, "wadi-limit", "")
	t.Run("order", func(t *testing.T) { inOrder(t, two) })
	t.Run("two agents", func(t *testing.T) { never2(t, two) })
}

// never2: an app with a limit of one request never sees two at once, though two agents
// send more than it can do; every request is answered.
func never2(t *testing.T, two *harness.Agent) {
	const name, workers, enough = "alone", 24, 500
	up(t, name, options{limit: 1})
	known(t, two, name)
	one := harnesstest.StartWorkers(t, workers, 0, at(t, stack.Agent, name, "/alone?for=1ms"))
	other := harnesstest.StartWorkers(t, workers, 0, at(t, two, name, "/alone?for=1ms"))
	one.Wait(t, enough)
	other.Wait(t, enough)
	one.WantAll(t, enough)
	other.WantAll(t, enough)
}

// known waits until an agent serves a service.
func known(t *testing.T, a *harness.Agent, service string) {
	t.Helper()
	send := at(t, a, service, "/healthz")
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		_, err := send(t.Context())
		return err
	})
}

// inOrder: waiting requests are served in the order of arrival. The agent has no other
// requests, so its metrics show when one has arrived.
func inOrder(t *testing.T, a *harness.Agent) {
	const name, waiting = "order", 12
	up(t, name, options{limit: 1})
	known(t, a, name)
	var all sync.WaitGroup
	var want []string
	for i := range waiting {
		send := at(t, a, name, fmt.Sprintf("/hold?key=all&name=%d", i))
		all.Go(func() {
			if _, err := send(t.Context()); err != nil {
				t.Error(err)
			}
		})
		want = append(want, fmt.Sprint(i))
		harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
			if n := pending(t, a); n != i+1 {
				return fmt.Errorf("%d requests are held, want %d", n, i+1)
			}
			return nil
		})
	}
	// The limit has no slot for the request that releases them, so it goes to the app directly.
	res, err := http.Get("http://" + appOf(t, name) + "/go?key=all")
	must(t, "let them go on", err)
	must(t, "let them go on", res.Body.Close())
	all.Wait()
	if got := stack.Get(t, name, "/order").Body; got != strings.Join(want, " ") {
		t.Errorf("got order %s, want that of arrival", got)
	}
}

// pending is how many requests an agent queues or forwards.
func pending(t *testing.T, a *harness.Agent) int {
	t.Helper()
	return int(metric(t, a, "wadi_activator_waiting_requests") + metric(t, a, "wadi_activator_in_flight_requests"))
}

func metric(t *testing.T, a *harness.Agent, name string) float64 {
	t.Helper()
	s := harnesstest.Stack{Stack: &harness.Stack{Agent: a}}
	return s.Metric(t, name)
}

// appOf is the address of the only instance's app itself.
func appOf(t *testing.T, service string) string {
	t.Helper()
	live, err := stack.Allocs(t.Context(), revision(service))
	must(t, "list instances", err)
	if len(live) != 1 {
		t.Fatalf("%s has %d instances, want 1", service, len(live))
	}
	alloc, _, err := stack.Nomad.Allocations().Info(live[0].ID, nil)
	must(t, "read instance", err)
	for _, p := range alloc.AllocatedResources.Shared.Ports {
		if p.Label == wadi.PortApp {
			return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.Value)) // Where it listens, in a host network.
		}
	}
	t.Fatalf("%s has no port %s", service, wadi.PortApp)
	return ""
}

// TestFairness: a flood for one service does not block another service's requests.
func TestFairness(t *testing.T) {
	t.Parallel()
	const flooded, other, capacity, flood = "flooded", "spared", 100, 300
	a := startAgent(t, "wadi-flood", fmt.Sprintf("activator {\n  max_waiting = %d\n}\n", capacity))
	stack.Deploy(t, service(flooded, options{env: `START_DELAY = "10m"`, scale: atZero(1), queue: `quiet = ["/quiet"]`})+
		service(other, options{scale: atZero(1), queue: `quiet = ["/quiet"]`}))
	for _, name := range []string{flooded, other} {
		harnesstest.Eventually(t, harnesstest.WaitLong, func() error { // The agent knows it.
			res, err := a.Get(t.Context(), name, "/quiet")
			if err == nil && res.Header.Get("Wadi-Error") != "at_zero" {
				err = fmt.Errorf("%s: %d %s", name, res.Status, res.Body)
			}
			return err
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	refused, waits := 0, flood
	var all sync.WaitGroup
	for range flood {
		all.Go(func() {
			res, err := a.Get(ctx, flooded, "/")
			mu.Lock()
			defer mu.Unlock()
			waits--
			if err == nil && res.Status == http.StatusServiceUnavailable && res.Header.Get("Wadi-Error") == "queue_full" && res.Header.Get("Retry-After") != "" {
				refused++
			} else if ctx.Err() == nil {
				t.Errorf("a flooding request: %d %s, %v", res.Status, res.Body, err)
			}
		})
	}
	defer all.Wait()
	defer cancel()
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		mu.Lock()
		defer mu.Unlock()
		if waits > capacity || refused < flood-capacity {
			return fmt.Errorf("%d wait, %d are refused", waits, refused)
		}
		return nil
	})
	res, err := a.Get(t.Context(), other, "/healthz")
	must(t, "ask the other one", err)
	harnesstest.WantStatus(t, res, 200)
}
