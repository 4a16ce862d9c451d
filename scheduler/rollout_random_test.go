package scheduler_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// walk is a world in which anything may happen, and in which the route is watched.
type walk struct {
	*world
	r    *rand.Rand
	seed uint64
	was  *wadi.RolloutState
	at   int // The step of the walk.
}

// Whatever happens to a service with a rollout, the weights sum to all (see checkRoute), none
// goes to a revision that can't take it, steps keep their distance, the share of the new
// revision grows until the rollout ends, and planning comes to rest.
func TestRollout_RandomWalk(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 29))
		w := &walk{world: newWorld(1), r: r, seed: seed}
		w.d.Service.Rollout = randomRollout(r)
		w.d.Service.Scale.Window = wadi.Duration(10 * time.Second)
		w.ready(r1, 1+r.IntN(5))
		w.settle(t)
		for w.at = range 100 {
			w.happens()
			before := w.o.Route
			w.cold = r.IntN(3) == 0
			w.settle(t)
			w.checkGrowth(t, before)
			w.checkSteps(t)
			if n := len(w.log); w.settle(t) != nil && len(w.log) != n {
				t.Fatalf("seed %d, step %d: at rest, and yet %v", seed, w.at, w.log[n:])
			}
			w.o.Now = w.o.Now.Add(time.Duration(r.IntN(8000)) * time.Millisecond)
		}
	}
}

func randomRollout(r *rand.Rand) *wadi.Rollout {
	if r.IntN(10) == 0 {
		return nil
	}
	return &wadi.Rollout{
		Duration: wadi.Duration(time.Duration(1+r.IntN(100)) * time.Second), Steps: r.IntN(2) * r.IntN(20),
		Hold: wadi.Duration(time.Duration(r.IntN(2)*r.IntN(20)) * time.Second), MaxErrorPercent: float64(r.IntN(2)),
	}
}

// happens is one thing that users, the cluster or callers do.
func (w *walk) happens() {
	id := w.d.Revisions[w.r.IntN(len(w.d.Revisions))].ID
	switch w.r.IntN(14) {
	case 0:
		if len(w.d.Revisions) < 6 {
			w.submit()
		}
	case 1:
		w.d.Service.Traffic = randomTraffic(w.r, w.d.Revisions)
	case 2:
		w.d.Service.Traffic = share("100 latest")
	case 3:
		w.d.Service.Rollout = randomRollout(w.r)
	case 4:
		actions := []wadi.RolloutAction{wadi.RolloutPause, wadi.RolloutResume, wadi.RolloutAbort}
		w.order(actions[w.r.IntN(3)], id)
	case 5:
		w.d.Attempt++
	case 6:
		w.o.Instances[id] = scheduler.Instances{Alive: 1, Diagnosis: "it exits", Since: w.o.Now.Add(-time.Minute)}
	case 7:
		w.o.Instances[id] = scheduler.Instances{Unknown: true, Alive: 1}
	case 8:
		w.o.Outcomes = nil
	case 9:
		w.answers(uint64(w.r.IntN(5000)), map[string]uint64{id: uint64(w.r.IntN(3) * w.r.IntN(100))})
	case 10:
		w.foreign = !w.foreign
		w.o.ProgramTried = false
	default:
		if w.o.Jobs[id].Running() {
			w.ready(id, w.r.IntN(6))
		}
	}
}

// checkGrowth checks that what has gained weight can take it.
func (w *walk) checkGrowth(t *testing.T, before wadi.Route) {
	t.Helper()
	serving := false
	had, broken := map[string]int{}, false
	for _, target := range before.Targets {
		had[target.Revision] += target.Weight
		if target.Weight > 0 {
			s := w.d.State.Revisions[target.Revision]
			serving = serving || w.o.Instances[target.Revision].Ready > 0
			broken = broken || s.StartFailure != "" || s.Phase != wadi.Ready
		}
	}
	has := map[string]int{}
	for _, target := range w.o.Route.Targets {
		has[target.Revision] += target.Weight
	}
	for id, weight := range has {
		s, in := w.d.State.Revisions[id], w.o.Instances[id]
		switch {
		case weight <= had[id] || broken:
		case s.Phase != wadi.Ready && s.Phase != wadi.Pending:
			t.Fatalf("seed %d, step %d: %s in phase %s got %d: %v", w.seed, w.at, id, s.Phase, weight, w.log)
		case serving && in.Ready == 0:
			t.Fatalf("seed %d, step %d: %s got %d with %+v: %+v", w.seed, w.at, id, weight, in, w.o.Route.Targets)
		case s.Rejected != "" && !scheduler.Named(w.d.Service, id) && w.hasBetter() && w.d.State.Rollout.Share(id) == 0:
			t.Fatalf("seed %d, step %d: %s got %d, though %s: %+v before, %+v, %+v", w.seed, w.at, id, weight, s.Rejected, before.Targets, w.d.State, w.log[max(0, len(w.log)-12):])
		}
	}
}

// hasBetter reports whether a revision is ready and was not rejected.
func (w *walk) hasBetter() bool {
	return slices.ContainsFunc(slices.Collect(maps.Values(w.d.State.Revisions)), func(s wadi.RevisionState) bool {
		return s.Phase == wadi.Ready && s.Rejected == ""
	})
}

// checkSteps checks that a rollout's share grows, and not before its time.
func (w *walk) checkSteps(t *testing.T) {
	t.Helper()
	now, was := w.d.State.Rollout, w.was
	w.was = now
	if now.Underway() {
		sum := 0
		for _, s := range now.Shares {
			sum += s.Weight
		}
		if sum != wadi.WeightAll {
			t.Fatalf("seed %d, step %d: shares %v", w.seed, w.at, now.Shares)
		}
	}
	if !now.Underway() || !was.Underway() || now.Revision != was.Revision || !now.Began.Equal(was.Began) {
		return
	}
	switch grew := now.Share(now.Revision) - was.Share(was.Revision); {
	case grew < 0:
		t.Fatalf("seed %d, step %d: the share fell from %v to %v", w.seed, w.at, was.Shares, now.Shares)
	case grew > 0 && was.Share(was.Revision) > 0:
		if was.Paused && now.Paused || was.Programmed.IsZero() || now.Stepped.Before(was.Next) {
			t.Fatalf("seed %d, step %d: a step too early: %+v, then %+v", w.seed, w.at, was, now)
		}
	}
}
