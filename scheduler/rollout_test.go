package scheduler_test

import (
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

const (
	oneMinute = 60 * time.Second
	// done is longer than the rollout of rolling.
	done = 10 * oneMinute
)

// rolling is a service whose second revision has just become ready, with a rollout of four
// steps, a minute each. Four instances carry its load.
func rolling(t *testing.T, change ...func(*wadi.Rollout)) *world {
	t.Helper()
	r := &wadi.Rollout{Duration: wadi.Duration(4*oneMinute + time.Second), Steps: 4}
	for _, c := range change {
		c(r)
	}
	w := newWorld(1)
	w.d.Service.Rollout = r
	w.ready(r1, 4)
	w.settle(t)
	w.submit()
	w.ready(r2, 1)
	return w.settle(t)
}

func gated(r *wadi.Rollout) { r.MaxErrorPercent = 1 }

// pass lets time go by, with a pass each second.
func (w *world) pass(t *testing.T, d time.Duration) *world {
	t.Helper()
	for range int(d / time.Second) {
		w.o.Now = w.o.Now.Add(time.Second)
		w.settle(t)
	}
	return w
}

func (w *world) order(a wadi.RolloutAction, revision string) {
	w.d.Order = wadi.RolloutOrder{Action: a, Revision: revision, By: "ann", At: w.o.Now.Unix()}
}

func (w *world) status() wadi.RolloutStatus {
	if st := scheduler.RolloutStatus(w.d, w.o, nil); st != nil {
		return *st
	}
	return wadi.RolloutStatus{}
}

// answers sets how many of n requests of each revision failed in the present step.
func (w *world) answers(n uint64, failed map[string]uint64) {
	w.o.Outcomes = map[string]wadi.Outcomes{}
	for _, r := range w.d.Revisions {
		w.o.Outcomes[r.ID] = wadi.Outcomes{Codes: map[string]uint64{"200": n - failed[r.ID], "500": failed[r.ID]}}
	}
}

func TestRollout_Steps(t *testing.T) {
	w := rolling(t)
	w.wantTargets(t, "100 "+r2, "9900 "+r1)
	if got := w.status(); got.Phase != wadi.RolloutStepping || got.Step != 1 || got.Steps != 5 || got.From != r1 || got.Percent != 1 || !got.Next.Equal(w.o.Now.Add(oneMinute)) {
		t.Errorf("status %+v", got)
	}
	w.pass(t, oneMinute-time.Second).wantTargets(t, "100 "+r2, "9900 "+r1)
	w.pass(t, time.Second).wantTargets(t, "2575 "+r2, "7425 "+r1)
	w.pass(t, oneMinute).wantTargets(t, "5050 "+r2, "4950 "+r1)
	w.pass(t, oneMinute).wantTargets(t, "7525 "+r2, "2475 "+r1)
	w.pass(t, oneMinute).wantTargets(t, "10000 "+r2)
	if got := w.status(); got.Phase != wadi.RolloutDone || got.Percent != 100 {
		t.Errorf("status %+v", got)
	}
	if in := w.o.Instances[r2].Ready; in != 4 {
		t.Errorf("%d instances, want 4 warmed", in)
	}
}

// Time in which nobody led makes for one step, and the next comes in its time.
func TestRollout_NoLeaderForLong(t *testing.T) {
	w := rolling(t).pass(t, 2*time.Second)
	w.o.Now = w.o.Now.Add(time.Hour)
	w.settle(t).wantTargets(t, "2575 "+r2, "7425 "+r1)
	w.pass(t, oneMinute-time.Second).wantTargets(t, "2575 "+r2, "7425 "+r1)
	w.pass(t, time.Second).wantTargets(t, "5050 "+r2, "4950 "+r1)
}

func TestRollout_HoldCountsFromWhenItIsProgrammed(t *testing.T) {
	w := rolling(t, func(r *wadi.Rollout) { r.Hold = wadi.Duration(2 * oneMinute) })
	w.pass(t, 2*oneMinute-time.Second).wantTargets(t, "100 "+r2, "9900 "+r1)
	w.foreign = true // The layers can't be programmed.
	w.pass(t, 5*oneMinute).wantTargets(t, "2575 "+r2, "7425 "+r1)
	if got := w.status(); !strings.Contains(got.Reason, "network") {
		t.Errorf("status %+v", got)
	}
	w.foreign, w.o.ProgramTried = false, false
	w.settle(t).pass(t, 2*oneMinute-time.Second).wantTargets(t, "2575 "+r2, "7425 "+r1)
	w.pass(t, time.Second).wantTargets(t, "5050 "+r2, "4950 "+r1)
}

func TestRollout_ThirdRevision(t *testing.T) {
	w := rolling(t).pass(t, oneMinute)
	w.submit()
	w.ready(r3, 1)
	w.settle(t).wantTargets(t, "100 "+r3, "2475 "+r2, "7425 "+r1)
	w.pass(t, oneMinute).wantTargets(t, "2575 "+r3, "7425 "+r1)
	w.pass(t, done).wantTargets(t, "10000 "+r3)
}

func TestRollout_PauseAndResume(t *testing.T) {
	w := rolling(t).pass(t, oneMinute)
	w.order(wadi.RolloutPause, r2)
	w.pass(t, time.Hour).wantTargets(t, "2575 "+r2, "7425 "+r1)
	if got := w.status(); got.Phase != wadi.RolloutPaused || got.Reason != "paused by ann" {
		t.Errorf("status %+v", got)
	}
	w.order(wadi.RolloutResume, r2)
	w.pass(t, oneMinute).wantTargets(t, "2575 "+r2, "7425 "+r1)
	w.pass(t, time.Second).wantTargets(t, "5050 "+r2, "4950 "+r1)
	w.order(wadi.RolloutPause, r1) // It concerns no other revision.
	w.pass(t, done).wantTargets(t, "10000 "+r2)
}

func TestRollout_AbortAndSubmitAgain(t *testing.T) {
	w := rolling(t).pass(t, 2*oneMinute)
	w.order(wadi.RolloutAbort, r2)
	w.settle(t).wantTargets(t, "10000 "+r1)
	if got := w.status(); got.Phase != wadi.RolloutAborted || got.Percent != 0 || w.d.State.Revisions[r2].Rejected != "it was aborted by ann" {
		t.Errorf("status %+v, %+v", got, w.d.State.Revisions[r2])
	}
	w.pass(t, done).wantTargets(t, "10000 "+r1)
	w.d.Attempt = 7
	w.ready(r2, 1)
	w.settle(t).wantTargets(t, "100 "+r2, "9900 "+r1)
	w.pass(t, done).wantTargets(t, "10000 "+r2)
}

// A newer revision does not bring an aborted one back.
func TestRollout_AnotherAfterAnAbort(t *testing.T) {
	w := rolling(t)
	w.order(wadi.RolloutAbort, r2)
	w.settle(t)
	w.submit()
	w.d.Attempt = 8
	w.pass(t, oneMinute).wantTargets(t, "10000 "+r1)
	w.ready(r3, 1)
	w.settle(t).wantTargets(t, "100 "+r3, "9900 "+r1)
}

func TestRollout_Gate(t *testing.T) {
	w := rolling(t, gated)
	w.answers(10, nil)
	w.pass(t, done).wantTargets(t, "100 "+r2, "9900 "+r1)
	if got := w.status(); got.Phase != wadi.RolloutJudging || !strings.Contains(got.Reason, "10 requests") {
		t.Errorf("status %+v, want that it waits for requests, with numbers", got)
	}
	w.answers(10_000, map[string]uint64{r1: 20, r2: 20})
	w.settle(t).wantTargets(t, "2575 "+r2, "7425 "+r1)
	w.answers(1000, map[string]uint64{r1: 2, r2: 100})
	w.settle(t)
	w.settle(t).wantTargets(t, "10000 "+r1)
	if got := w.status(); got.Phase != wadi.RolloutRolledBack || !strings.Contains(got.Reason, "10 % of 1,000 requests failed") {
		t.Errorf("status %+v", got)
	}
}

// A caller's word is enough for one step on which too few requests came, and for no more.
func TestRollout_ResumeWithoutEnoughRequests(t *testing.T) {
	w := rolling(t, gated)
	w.answers(3, nil)
	w.pass(t, 2*oneMinute).wantTargets(t, "100 "+r2, "9900 "+r1)
	w.order(wadi.RolloutResume, r2)
	w.settle(t).wantTargets(t, "2575 "+r2, "7425 "+r1)
	w.pass(t, done).wantTargets(t, "2575 "+r2, "7425 "+r1)
}

// What is not known is waited for, with the reason.
func TestRollout_GateWithoutNumbers(t *testing.T) {
	w := rolling(t, gated)
	w.o.NoOutcomes = map[string]string{r2: "an instance does not answer"}
	w.pass(t, done).wantTargets(t, "100 "+r2, "9900 "+r1)
	if got := w.status(); got.Phase != wadi.RolloutJudging || !strings.Contains(got.Reason, "does not answer") {
		t.Errorf("status %+v", got)
	}
}

// No weight moves to instances that are not there, whoever wants it, and status says so.
func TestRollout_WaitsForInstances(t *testing.T) {
	w := rolling(t)
	w.cold = true
	w.pass(t, done)
	w.wantTargets(t, "2575 "+r2, "7425 "+r1) // One instance of four takes a quarter, and a little more.
	if got := w.status(); got.Phase != wadi.RolloutWarming || !strings.Contains(got.Reason, "has 1 of the 2 instances ready") {
		t.Errorf("status %+v", got)
	}
	w.cold = false
	w.settle(t).wantTargets(t, "5050 "+r2, "4950 "+r1)
}

// A revision that can't serve any more gives its share back, though the other is small.
func TestRollout_RevisionThatFails(t *testing.T) {
	w := rolling(t).pass(t, 3*oneMinute)
	w.ready(r1, 1)
	w.o.Instances[r2] = scheduler.Instances{Alive: 3, Diagnosis: "it exits with code 1", Since: w.o.Now}
	w.cold = true
	w.pass(t, 4*time.Second).wantTargets(t, "10000 "+r1)
	if got := w.status(); got.Phase != wadi.RolloutRolledBack || !strings.Contains(got.Reason, "exits with code 1") {
		t.Errorf("status %+v", got)
	}
}

// Of a revision that is rolled back the weight goes as fast as the other's instances come.
func TestRollout_BackStepByStep(t *testing.T) {
	w := rolling(t, gated)
	w.answers(10_000, nil)
	w.pass(t, 3*oneMinute).wantTargets(t, "7525 "+r2, "2475 "+r1)
	w.ready(r1, 1)
	w.o.Loaded = map[string]int{r1: 1, r2: 3}
	w.answers(1000, map[string]uint64{r2: 300})
	w.cold = true
	w.settle(t).wantTargets(t, "7525 "+r2, "2475 "+r1) // A hundredth is not worth a route.
	w.ready(r1, 2)
	w.settle(t).wantTargets(t, "5000 "+r1, "5000 "+r2)
	w.ready(r1, 3)
	w.settle(t).wantTargets(t, "7500 "+r1, "2500 "+r2)
	w.ready(r1, 4)
	w.settle(t).wantTargets(t, "10000 "+r1)
}

func TestRollout_OthersShareTheTraffic(t *testing.T) {
	w := newWorld(2)
	w.d.Service.Rollout = &wadi.Rollout{Duration: wadi.Duration(4*oneMinute + time.Second), Steps: 4}
	w.d.Service.Traffic = share("90 latest new", "10 hello-00001 old")
	w.ready(r1, 1)
	w.ready(r2, 4)
	w.settle(t).wantTargets(t, "9000 "+r2+" new", "1000 "+r1+" old")
	w.submit()
	w.ready(r3, 1)
	// A tag of latest is the new one's from the start.
	w.settle(t).wantTargets(t, "90 "+r3+" new", "8910 "+r2, "1000 "+r1+" old")
	w.pass(t, oneMinute).wantTargets(t, "2318 "+r3+" new", "6682 "+r2, "1000 "+r1+" old")
	w.d.Service.Traffic = share("50 latest", "50 hello-00001") // The shares of latest stay.
	w.settle(t).wantTargets(t, "1288 "+r3, "3712 "+r2, "5000 "+r1)
	w.pass(t, done).wantTargets(t, "5000 "+r3, "5000 "+r1)
}

// Without a share for latest there is nothing to roll out. When it has one again, its
// newest revision begins anew.
func TestRollout_Pinned(t *testing.T) {
	w := rolling(t).pass(t, 2*oneMinute)
	w.d.Service.Traffic = share("100 hello-00001")
	w.settle(t).wantTargets(t, "10000 "+r1)
	if got := w.status(); got.Phase != wadi.RolloutAborted || w.d.State.Revisions[r2].Rejected != "" {
		t.Errorf("status %+v", got)
	}
	w.d.Service.Traffic = share("100 latest")
	w.settle(t).wantTargets(t, "100 "+r2, "9900 "+r1)
}

func TestRollout_NoLongerWanted(t *testing.T) {
	w := rolling(t).pass(t, oneMinute)
	w.d.Service.Rollout = nil
	w.settle(t).wantTargets(t, "10000 "+r2)
}

// A service at zero rolls out by the clock, and starts nothing.
func TestRollout_AtZero(t *testing.T) {
	w := rolling(t)
	w.ready(r1, 0)
	w.ready(r2, 0)
	w.pass(t, done).wantTargets(t, "10000 "+r2)
	if n := w.o.Instances[r2].Ready; n != 0 {
		t.Errorf("%d instances started", n)
	}
}

// An abort of the only revision is none.
func TestRollout_AbortWithoutAnother(t *testing.T) {
	w := newWorld(1)
	w.ready(r1, 1)
	w.settle(t)
	w.order(wadi.RolloutAbort, r1)
	w.settle(t).wantTargets(t, "10000 "+r1)
	if got := w.d.State.Revisions[r1].Rejected; got != "" {
		t.Errorf("rejected: %s", got)
	}
}

// All at once is as before, but for the instances: they come first.
func TestPlan_AllAtOnceWhenItsInstancesAreThere(t *testing.T) {
	w := newWorld(1)
	w.ready(r1, 4)
	w.settle(t)
	w.cold = true
	w.submit()
	w.ready(r2, 1)
	w.settle(t).wantTargets(t, "10000 "+r1)
	if got := w.trafficPending(); !strings.Contains(got, r2+" has 1 of the 4 instances ready") {
		t.Errorf("held because %q", got)
	}
	if got := scheduler.Warming(w.d, w.o); got[r2] != 4 {
		t.Errorf("warming %v, want 4 of %s", got, r2)
	}
	// Some node is full: what there is takes its part, and the others can end.
	w.o.Instances[r2] = scheduler.Instances{Alive: 2, Ready: 2, Diagnosis: "no node fits"}
	w.settle(t).wantTargets(t, "5000 "+r2, "5000 "+r1)
	w.ready(r2, 4)
	w.settle(t).wantTargets(t, "10000 "+r2)
	if w.trafficPending() != "" || w.d.State.Rollout != nil {
		t.Errorf("held because %q; memory %+v", w.trafficPending(), w.d.State.Rollout)
	}
}

// The load of the others is not in a revision's own load yet when its share has grown.
func TestWarming_LastsForAWindow(t *testing.T) {
	w := newWorld(1)
	w.d.Service.Scale.Window = wadi.Duration(oneMinute)
	w.ready(r1, 4)
	w.settle(t)
	w.submit()
	w.ready(r2, 1)
	w.settle(t).wantTargets(t, "10000 "+r2)
	w.o.Moved, w.o.Loaded = w.o.Now, map[string]int{r1: 4, r2: 0}
	if got := scheduler.Warming(w.d, w.o); len(got) != 1 || got[r2] != 4 {
		t.Errorf("warming %v, want 4 of %s", got, r2)
	}
	w.o.Loaded = map[string]int{r1: 1, r2: 2} // It becomes less, too.
	if got := scheduler.Warming(w.d, w.o); got[r2] != 3 {
		t.Errorf("warming %v, want 3 of %s", got, r2)
	}
	w.o.Now = w.o.Now.Add(oneMinute)
	if got := scheduler.Warming(w.d, w.o); len(got) > 0 {
		t.Errorf("warming %v after a window", got)
	}
}

// Bounds of instances bound what is waited for.
func TestWarming_Bounded(t *testing.T) {
	for name, bound := range map[string]func(*world){
		"max":     func(w *world) { w.d.Service.Scale.Max = 2 },
		"ceiling": func(w *world) { w.o.Ceiling = 2 },
		"dry run": func(w *world) { w.d.Service.Scale.DryRun = true },
	} {
		w := newWorld(1)
		w.ready(r1, 4)
		w.settle(t)
		w.submit()
		bound(w)
		w.ready(r2, 2)
		if w.settle(t).target() != r2 {
			t.Errorf("%s: held because %q", name, w.trafficPending())
		}
	}
}
