package scheduler_test

import (
	"fmt"
	"testing"

	"github.com/wadi-run/wadi/scheduler"
)

func TestPlan_DeleteDrainsFirst(t *testing.T) {
	w := newWorld(1)
	w.ready(r1, 1)
	w.settle(t)
	w.d.Deleting = true
	for i, want := range []scheduler.ActionKind{scheduler.PutRoute, scheduler.Program, scheduler.StopJob} {
		w.o.Programmed = fmt.Sprint(w.programed) == fmt.Sprint(w.o.Route)
		acts := scheduler.Plan(w.d, w.o)
		if len(acts) != 1 || acts[0].Kind != want {
			t.Fatalf("step %d: plan %+v, want %s alone", i, acts, want)
		}
		w.apply(t, acts[0])
	}
	if !w.o.Route.Deleted() || len(w.o.Route.Revisions) != 1 {
		t.Fatalf("route %+v, want one without targets that still knows the revision", w.o.Route)
	}
	w.o.Instances[r1] = scheduler.Instances{Stopping: 1}
	if acts := scheduler.Plan(w.d, w.o); len(acts) != 0 {
		t.Fatalf("plan %+v while an instance drains, want none", acts)
	}
	w.o.Instances[r1] = scheduler.Instances{}
	if !w.settle(t).forgotten {
		t.Fatalf("not forgotten: %v", w.log)
	}
	if w.programed.Service != "" {
		t.Fatal("forgotten before the network layers let go of it")
	}
}

// The network layers may have foreign entries, or refuse for too long: the instances end
// anyway.
func TestPlan_DeleteGoesOnWithoutTheLayers(t *testing.T) {
	w := newWorld(1)
	w.ready(r1, 1)
	w.settle(t)
	w.d.Deleting, w.foreign = true, true
	for _, a := range scheduler.Plan(w.d, w.o) {
		w.apply(t, a)
	}
	w.o.Programmed = false
	if acts := scheduler.Plan(w.d, w.o); len(acts) != 1 || acts[0].Kind != scheduler.Program {
		t.Fatalf("plan %+v, want the layers told first", acts)
	}
	w.o.ProgramTried = true
	if acts := scheduler.Plan(w.d, w.o); len(acts) != 0 {
		t.Fatalf("plan %+v while the layers were told, want none", acts)
	}
	w.o.GivenUp, w.o.ProgramTried = true, false
	acts := scheduler.Plan(w.d, w.o)
	if len(acts) != 2 || acts[0].Kind != scheduler.StopJob || acts[1].Kind != scheduler.Program {
		t.Fatalf("plan %+v, want the job stopped, and the layers tried behind it", acts)
	}
	if !w.settle(t).forgotten {
		t.Fatalf("not forgotten: %v", w.log)
	}
}
