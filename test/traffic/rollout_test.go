//go:build e2e

package traffic_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// rolled is version with a rollout block.
func rolled(name, v, inside string) string {
	return rolledWith(name, map[string]string{"VERSION": v}, inside)
}

func rolledWith(name string, env map[string]string, inside string) string {
	return versionWith(name, env, `window = "1h"`, "rollout {\n    "+inside+"\n  }")
}

// at waits until a service's rollout to a revision is as wanted.
func at(t *testing.T, a *harness.Agent, name, revision, want string, is func(*wadi.RolloutStatus) bool) (got wadi.RolloutStatus) {
	t.Helper()
	defer func() {
		if t.Failed() {
			known, err := a.Client.CheckRollout(context.WithoutCancel(t.Context()), name, time.Minute)
			t.Logf("what is known of the answers: %+v (%v)", known, err)
		}
	}()
	waitStatusAt(t, a, name, func(st wadi.Status) error {
		if st.Rollout == nil || st.Rollout.Revision != revision || !is(st.Rollout) {
			return fmt.Errorf("got rollout %+v, want that of %s %s", st.Rollout, revision, want)
		}
		got = *st.Rollout
		return nil
	})
	return got
}

// in reports whether a rollout is in a phase.
func in(p wadi.RolloutPhase) func(*wadi.RolloutStatus) bool {
	return func(r *wadi.RolloutStatus) bool { return r.Phase == p }
}

// begun is a rollout that has some of the traffic, and not all.
func begun(r *wadi.RolloutStatus) bool { return r.Percent > 0 && r.Percent < 100 }

func order(t *testing.T, name string, action wadi.RolloutAction) {
	t.Helper()
	_, err := stack.Agent.Client.OrderRollout(t.Context(), name, api.RolloutOrder{Action: action})
	harnesstest.Must(t, string(action)+" the rollout of "+name, err)
}

// A new revision takes over in steps; it is paused, and goes on. The next one is aborted,
// and gives back what it had. Callers notice nothing.
func TestRollout_StepsPauseAndAbort(t *testing.T) {
	t.Parallel()
	const name, one, two, three = "ramp", "ramp-00001", "ramp-00002", "ramp-00003"
	deploy(t, rolled(name, "1", `duration = "20s"`))
	l := startLoad(t, 40*time.Millisecond, bothWays(t, name)...)
	l.waitAll(t, one, 20)

	stack.Submit(t, rolled(name, "2", "duration = \"20s\"\n steps = 2")) // It must not be done before it is paused.
	first := at(t, stack.Agent, name, two, "begun", begun)
	if first.Percent != 1 && first.Percent != 50.5 { // The first step may be over before it is seen.
		t.Errorf("the rollout began with %g %%", first.Percent)
	}
	order(t, name, wadi.RolloutPause)
	paused := at(t, stack.Agent, name, two, "paused", in(wadi.RolloutPaused))
	l.waitMix(t, 1000, one, two)
	if now := at(t, stack.Agent, name, two, "paused", in(wadi.RolloutPaused)); now.Percent != paused.Percent {
		t.Errorf("it went from %g to %g %% while it was paused", paused.Percent, now.Percent)
	}
	order(t, name, wadi.RolloutResume)
	at(t, stack.Agent, name, two, "done", in(wadi.RolloutDone))
	l.waitAll(t, two, 20)

	stack.Submit(t, rolled(name, "3", "duration = \"5m\"\n steps = 2"))
	at(t, stack.Agent, name, three, "begun", begun)
	order(t, name, wadi.RolloutAbort)
	at(t, stack.Agent, name, three, "aborted", in(wadi.RolloutAborted))
	l.waitAll(t, two, 200)
	l.wantAll(t, 100)
}

// A third revision in the middle of a rollout takes over from both.
func TestRollout_AThirdInTheMiddle(t *testing.T) {
	t.Parallel()
	const name, two, three = "third", "third-00002", "third-00003"
	deploy(t, rolled(name, "1", `duration = "5m"`))
	l := startLoad(t, 50*time.Millisecond, bothWays(t, name)...)
	l.waitAll(t, name+"-00001", 20)
	stack.Submit(t, rolled(name, "2", "duration = \"5m\"\n steps = 2"))
	at(t, stack.Agent, name, two, "begun", begun)
	stack.Submit(t, rolled(name, "3", "duration = \"2s\"\n steps = 1"))
	at(t, stack.Agent, name, three, "done", in(wadi.RolloutDone))
	l.waitAll(t, three, 40)
	l.wantAll(t, 60)
}

// A revision that answers as well as the one before passes the gate.
func TestRollout_GateLetsThrough(t *testing.T) {
	t.Parallel()
	const name, two = "good", "good-00002"
	inside := "duration = \"1s\"\n steps = 1\n max_error_percent = 40"
	deploy(t, rolled(name, "1", inside))
	l := startLoad(t, 10*time.Millisecond, bothWays(t, name)...)
	l.waitAll(t, name+"-00001", 20)
	stack.Submit(t, rolled(name, "2", inside))
	done := at(t, stack.Agent, name, two, "done", in(wadi.RolloutDone))
	t.Logf("done: %+v", done)
	l.waitAll(t, two, 40)
	l.wantAll(t, 100)
}

// A revision that fails requests is judged by the requests that it has failed at its first
// step, and gives its share back by itself. No request to the revision before fails.
func TestRollout_GateGoesBackByErrors(t *testing.T) {
	t.Parallel()
	const name, one, two = "rotten", "rotten-00001", "rotten-00002"
	inside := "duration = \"30s\"\n steps = 2\n hold = \"10s\"\n max_error_percent = 5"
	deploy(t, rolled(name, "1", inside))
	l := startLoad(t, 10*time.Millisecond, bothWays(t, name)...)
	l.allowBad(two)
	l.waitAll(t, one, 20)
	stack.Submit(t, rolledWith(name, map[string]string{"ANSWER": "status=500"}, inside))
	wantRolledBack(t, l, name, one, two)
}

// wantRolledBack waits until a gate has sent a revision back, and all answers come from the
// revision before. Then the reason must be given in the status and in an event, and another
// attempt be possible.
func wantRolledBack(t *testing.T, l *load, name, one, two string) {
	t.Helper()
	back := at(t, stack.Agent, name, two, "rolled back", in(wadi.RolloutRolledBack))
	t.Logf("rolled back: %s", back.Reason)
	l.waitAll(t, one, 300)
	if back.Reason == "" {
		t.Errorf("no reason is given: %+v", back)
	}
	waitStatus(t, name, func(st wadi.Status) error {
		if !slices.ContainsFunc(st.Events, func(e wadi.Event) bool {
			return e.Revision == two && strings.Contains(e.Message, back.Reason)
		}) {
			return fmt.Errorf("the reason %q is in no event: %+v", back.Reason, st.Events)
		}
		return nil
	})
	l.wantAll(t, 100)
	answers := l.since(time.Time{}, "")
	t.Logf("answers: %v", answers)
	if answers[two] == 0 || answers[two] > answers[one]/4 {
		t.Errorf("%d of %v answers are the bad revision's, want some and few", answers[two], answers)
	}
}

// A revision that is slow is sent back by its 99th percentile.
func TestRollout_GateGoesBackByLatency(t *testing.T) {
	t.Parallel()
	const name, one, two = "slow", "slow-00001", "slow-00002"
	block := "rollout {\n    duration = \"30s\"\n    steps = 2\n    hold = \"10s\"\n    max_p99 = \"100ms\"\n  }"
	revision := func(answer string) string {
		hcl := harnesstest.Hello(name, "max = 1\n    window = \"1h\"", block)
		return strings.Replace(hcl, "resources {", fmt.Sprintf("env {\n        ANSWER = %q\n      }\n      resources {", answer), 1)
	}
	stack.Deploy(t, revision("sleep=0s"))
	l := startLoad(t, 2*time.Millisecond, throughGateway(t, name))
	l.waitAll(t, one, 20)
	stack.Submit(t, revision("sleep=300ms"))
	wantRolledBack(t, l, name, one, two)
}

// A service that is deleted in the middle of a rollout answers 404 by both ways, and
// otherwise well, while its last requests end; nothing of it is left.
func TestRollout_DeletedInTheMiddle(t *testing.T) {
	t.Parallel()
	const name, one, two = "ended", "ended-00001", "ended-00002"
	deploy(t, rolled(name, "1", `duration = "5m"`))
	l := startLoad(t, 50*time.Millisecond, bothWays(t, name)...)
	l.waitAll(t, one, 20)
	stack.Submit(t, rolled(name, "2", "duration = \"20s\"\n steps = 2")) // It must not be done before it is paused.
	at(t, stack.Agent, name, two, "half done", func(r *wadi.RolloutStatus) bool { return r.Percent == 50.5 })
	order(t, name, wadi.RolloutPause)
	at(t, stack.Agent, name, two, "paused", in(wadi.RolloutPaused))
	end := keepBusy(t, name, one, two)

	gone := make(chan error, 1)
	go func() { gone <- stack.Agent.Delete(t.Context(), name) }()
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		for _, way := range l.ways {
			if n := l.since(time.Time{}, way)["status 404"]; n < 20 {
				return fmt.Errorf("%d answers 404 through %s", n, way)
			}
		}
		return nil
	})
	l.stop()
	for answer, n := range l.since(time.Time{}, "") {
		if answer != one && answer != two && answer != fmt.Sprint("status ", http.StatusNotFound) {
			t.Errorf("%d answers are %s:\n%s", n, answer, l)
		}
	}
	end()
	harnesstest.Must(t, "delete it", <-gone)
	for _, revision := range []string{one, two} {
		harnesstest.Must(t, "wait until its job is gone", stack.WaitCount(t.Context(), revision, harnesstest.WaitLong, func(n int) bool { return n < 0 }))
	}
}

// keepBusy has each of the revisions answer a request that does not end until end is called, so
// that its instance does not either.
func keepBusy(t *testing.T, name string, revisions ...string) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	c, busy := stack.Client(t), map[string]bool{}
	for range 100 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, harnesstest.URL(name, "/?stream=100000&every=100ms"), nil)
		harnesstest.Must(t, "make a request", err)
		res, err := c.Do(req)
		harnesstest.Must(t, "send a request that goes on", err)
		t.Cleanup(func() { _ = res.Body.Close() })
		if busy[res.Header.Get("Hello-Revision")] = true; len(busy) == len(revisions) {
			return cancel
		}
	}
	t.Fatalf("a hundred requests went to %v, want some to each of %v", busy, revisions)
	return nil
}
