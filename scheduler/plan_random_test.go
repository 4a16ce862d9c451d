package scheduler_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// From any state of a service, with any traffic, planning comes to rest, routed revisions
// have jobs, and the traffic is as submitted or there is a reason.
func TestPlan_AlwaysComesToRest(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := randomWorld(r)
		for range 3 {
			w.settle(t)
			if w.forgotten {
				break
			}
			w.wantAtRest(t, seed)
			w.d.Service.Traffic = randomTraffic(r, w.d.Revisions)
			if r.IntN(2) == 0 && !w.d.Deleting {
				w.submit()
			}
			for _, rev := range w.d.Revisions {
				if r.IntN(3) == 0 && w.o.Jobs[rev.ID].Running() {
					w.ready(rev.ID, r.IntN(3))
				}
			}
			w.o.Now = w.o.Now.Add(time.Duration(r.IntN(90)) * time.Second)
		}
	}
}

func randomWorld(r *rand.Rand) *world {
	phases := []wadi.Phase{"", wadi.Pending, wadi.Ready, wadi.Failed, wadi.Retired}
	w := newWorld(1 + r.IntN(4))
	w.d.Service.Traffic = randomTraffic(r, w.d.Revisions)
	for _, rev := range w.d.Revisions {
		if p := phases[r.IntN(len(phases))]; p != "" {
			w.d.State.Revisions[rev.ID] = wadi.RevisionState{
				Phase: p, Since: w.o.Now.Add(-time.Duration(r.IntN(120)) * time.Second), WasReady: r.IntN(2) == 0,
			}
		}
		switch r.IntN(4) {
		case 0:
			delete(w.o.Jobs, rev.ID)
		case 1:
			w.o.Jobs[rev.ID] = scheduler.JobState{Exists: true, Stopped: true, Index: 9}
		case 2:
			w.ready(rev.ID, r.IntN(3))
		}
	}
	w.d.Service.ImagePrefetch = r.IntN(2) == 0
	w.o.Prefetch = map[string]scheduler.Prefetch{}
	for _, rev := range w.d.Revisions {
		if r.IntN(2) == 0 {
			w.o.Prefetch[rev.ID] = scheduler.Prefetch{Placed: r.IntN(2) == 0, Nodes: []scheduler.PrefetchNode{{Name: "a", Done: r.IntN(2) == 0}}}
		}
	}
	w.d.Deleting = r.IntN(8) == 0
	if w.d.Deleting {
		w.o.Instances = map[string]scheduler.Instances{}
	}
	return w
}

func randomTraffic(r *rand.Rand, revs []wadi.Revision) []wadi.TrafficTarget {
	var out []wadi.TrafficTarget
	left := wadi.WeightAll
	for i := range 1 + r.IntN(3) {
		t := wadi.TrafficTarget{Revision: revs[r.IntN(len(revs))].ID, Percent: float64(r.IntN(left+1)) / 100}
		if r.IntN(3) == 0 {
			t.Revision = wadi.Latest
		}
		if r.IntN(2) == 0 {
			t.Tag = fmt.Sprintf("t%d", i)
		}
		left -= int(t.Percent*100 + 0.5)
		out = append(out, t)
	}
	return append(out, wadi.TrafficTarget{Revision: wadi.Latest, Percent: float64(left) / 100})
}

func (w *world) wantAtRest(t *testing.T, seed uint64) {
	t.Helper()
	if len(w.o.Route.Targets) == 0 {
		t.Fatalf("seed %d: no targets", seed)
	}
	for _, target := range w.o.Route.Targets {
		phase := w.d.State.Revisions[target.Revision].Phase
		if phase != wadi.Failed && !w.o.Jobs[target.Revision].Running() {
			t.Fatalf("seed %d: target %+v in phase %q has job %+v: %v", seed, target, phase, w.o.Jobs[target.Revision], w.log)
		}
		if _, ok := w.o.Route.Revisions[target.Revision]; !ok {
			t.Fatalf("seed %d: the route names %s and says nothing of it", seed, target.Revision)
		}
	}
	want := w.submittedRoute().Targets
	if same := slices.Equal(want, w.o.Route.Targets); same != (w.trafficPending() == "") {
		t.Fatalf("seed %d: targets %+v, want %+v; held because %q", seed, w.o.Route.Targets, want, w.trafficPending())
	}
}

// submittedRoute is what is planned for the service if it had no route: the route that
// the submitted traffic asks for.
func (w *world) submittedRoute() wadi.Route {
	o := w.o
	o.Route = wadi.Route{}
	for _, a := range scheduler.Plan(w.d, o) {
		if a.Kind == scheduler.PutRoute {
			return a.Route
		}
	}
	return wadi.Route{}
}
