//go:build e2e

package scaling_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// second runs a second agent for the time of the test.
func second(t *testing.T) *harness.Agent {
	t.Helper()
	two, err := stack.NewAgent("wadi-2", "")
	harnesstest.Must(t, "configure the second agent", err)
	harnesstest.Must(t, "start it", two.Start(t.Context()))
	t.Cleanup(func() { harnesstest.Must(t, "stop the second agent", two.Stop(context.WithoutCancel(t.Context()))) })
	harnesstest.Must(t, "wait for it", two.WaitLeader(t.Context()))
	return two
}

// through always has n requests in flight, through each agent in turn, or through the next
// if that is gone.
func through(t *testing.T, service, path string, n int, agents ...*harness.Agent) *harnesstest.Load {
	t.Helper()
	var turn atomic.Int64
	return harnesstest.StartWorkers(t, n, 0, func(ctx context.Context) (string, error) {
		first := int(turn.Add(1))
		res, err := agents[first%len(agents)].Get(ctx, service, path)
		if err != nil && len(agents) > 1 {
			res, err = agents[(first+1)%len(agents)].Get(ctx, service, path)
		}
		return harnesstest.Answer(res, err)
	})
}

// steady waits until three instances carry five requests, by complete data.
func steady(t *testing.T, service string) wadi.Decision {
	t.Helper()
	waitCount(t, service, 3)
	return waitDecision(t, service, "in steady state", func(d wadi.Decision) bool {
		return d.Ready == 3 && d.Stable > 4.3 && d.Coverage == 1
	})
}

// A new leader changes no count, though the requests in the old one are lost with it.
func TestLeaderChange(t *testing.T) {
	two := second(t)
	stack.Deploy(t, hello("kept", perInstance(2)+"max = 8"))
	l := through(t, "kept", "/?sleep=200ms", 5, stack.Agent, two)
	steady(t, "kept")
	got := extremes(t, "kept")
	firstBack(t, two)
	harnesstest.Must(t, "kill the leader", stack.Agent.Kill())
	killed := time.Now()
	decided := func(what string, is func(wadi.Decision) bool) {
		t.Helper()
		err := harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
			all, err := two.Client.Decisions(t.Context(), "kept")
			if err != nil || len(all) == 0 || !is(all[len(all)-1]) {
				return fmt.Errorf("%v after the kill: %v %v", time.Since(killed), all, err)
			}
			return nil
		})
		harnesstest.Must(t, "the new leader decides "+what, err)
	}
	decided("validly", func(d wadi.Decision) bool { return d.Valid })
	t.Logf("the new leader decided validly %v after the kill", time.Since(killed))
	decided("on complete windows", func(d wadi.Decision) bool { return d.Valid && d.Coverage == 1 && d.PanicCoverage == 1 })
	time.Sleep(8 * time.Second) // A whole window of it.
	if least, most := got(); least != 3 || most != 3 {
		t.Errorf("got counts of %d to %d; want 3 all the time", least, most)
	}
	wantAnswered(t, l)
}

// inFlight sends five requests that last for longer than two windows, and expects their
// answers; the returned group waits for that.
func inFlight(t *testing.T, service string, a *harness.Agent) *sync.WaitGroup {
	var g sync.WaitGroup
	for range 5 {
		g.Go(func() {
			res, err := a.Get(t.Context(), service, "/?sleep=15s")
			if err != nil || res.Status != 200 {
				t.Errorf("a request of an agent that drains: %v %v", res, err)
			}
		})
	}
	return &g
}

// A draining leader still has load, while another one leads.
func TestLeaderDrains(t *testing.T) {
	two := second(t)
	stack.Deploy(t, hello("drained", perInstance(2)+"max = 3"))
	l := through(t, "drained", "/?sleep=1s", 5, stack.Agent)
	steady(t, "drained")
	long := inFlight(t, "drained", stack.Agent)
	waitDecision(t, "drained", "of all requests", func(d wadi.Decision) bool { return d.Stable > 6 })
	wantAnswered(t, l)
	got := extremes(t, "drained")
	firstBack(t, two)
	harnesstest.Must(t, "drain the leader", stack.Agent.Signal(syscall.SIGTERM))
	long.Wait()
	if least, most := got(); least != 3 || most != 3 {
		t.Errorf("while the leader drained: counts of %d to %d, want 3", least, most)
	}
	<-stack.Agent.Done()
}

// firstBack makes the first agent the leader again at the end, and stops the second.
func firstBack(t *testing.T, two *harness.Agent) {
	t.Cleanup(func() {
		select {
		case <-stack.Agent.Done():
			harnesstest.Must(t, "start the first agent", stack.Agent.Start(context.WithoutCancel(t.Context())))
		default:
		}
		harnesstest.Must(t, "stop the second agent", two.Stop(context.WithoutCancel(t.Context())))
		harnesstest.Must(t, "wait for the first one", stack.Agent.WaitLeader(context.WithoutCancel(t.Context())))
	})
}

// An activator's requests are load, whether Consul lists it or not: while its checks fail,
// and while it drains.
func TestActivatorThatIsNotListed(t *testing.T) {
	two := second(t)
	stack.Deploy(t, hello("unlisted", perInstance(2)+"max = 3"))
	l := through(t, "unlisted", "/?sleep=1s", 5, two)
	steady(t, "unlisted")
	got := extremes(t, "unlisted")

	harnesstest.Must(t, "have its checks fail", stack.Consul.Agent().EnableServiceMaintenance("wadi:wadi-2", "a test"))
	time.Sleep(10 * time.Second) // Longer than the window.
	if least, most := got(); least != 3 || most != 3 {
		t.Errorf("with an activator whose checks fail: counts of %d to %d, want 3\n%s", least, most, why(t, "unlisted"))
	}
	harnesstest.Must(t, "have them pass", stack.Consul.Agent().DisableServiceMaintenance("wadi:wadi-2"))

	long := inFlight(t, "unlisted", two)
	waitDecision(t, "unlisted", "of all requests", func(d wadi.Decision) bool { return d.Stable > 6 })
	wantAnswered(t, l)
	got = extremes(t, "unlisted")
	harnesstest.Must(t, "drain it", two.Signal(syscall.SIGTERM))
	long.Wait()
	if least, most := got(); least != 3 || most != 3 {
		t.Errorf("with an activator that drains: counts of %d to %d, want 3\n%s", least, most, why(t, "unlisted"))
	}
}
