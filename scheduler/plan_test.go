package scheduler_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// world is a service with its cluster, in which every action succeeds.
type world struct {
	d         scheduler.Desired
	o         scheduler.Observed
	programed wadi.Route
	forgotten bool
	submitted int
	foreign   bool                  // Foreign entries conflict.
	forget    func(revision string) // Is told before a revision is forgotten; nil: nobody is.
	cold      bool                  // Revisions that are warmed get no instances.
	log       []string
}

func newWorld(revisions int) *world {
	w := &world{}
	w.o.Now = time.Unix(1000, 0)
	w.o.Jobs = map[string]scheduler.JobState{}
	w.o.Adopted = map[string]uint64{}
	w.o.Instances = map[string]scheduler.Instances{}
	w.o.Wanted = map[string]int{}
	w.d.State.Revisions = map[string]wadi.RevisionState{}
	w.d.Service = wadi.Service{
		Name: "hello", Traffic: []wadi.TrafficTarget{{Revision: wadi.Latest, Percent: 100}},
		Scale: wadi.Scaling{Initial: 1}, Retention: wadi.Retention{Keep: 1},
	}
	for range revisions {
		w.submit()
	}
	return w
}

func (w *world) submit() {
	w.submitted++
	n := w.submitted
	id := wadi.RevisionID("hello", n)
	r := wadi.Revision{ID: id, Service: "hello", Number: n, Spec: w.d.Service}
	r.Spec.Timeout.Progress = wadi.Duration(time.Minute)
	w.d.Revisions = append(w.d.Revisions, r)
	w.d.Latest = id
	w.o.Jobs[id] = scheduler.JobState{Exists: true, Index: 1}
	w.o.Adopted[id] = 1
}

// settle plans and executes until nothing is left to do.
func (w *world) settle(t *testing.T) *world {
	t.Helper()
	for range 50 {
		w.o.Programmed = fmt.Sprint(w.programed) == fmt.Sprint(w.o.Route)
		w.o.Leftovers = w.programed.Service != ""
		acts := scheduler.Plan(w.d, w.o)
		if len(acts) == 0 && w.warm() {
			continue
		}
		if len(acts) == 0 || w.forgotten {
			return w
		}
		for _, a := range acts {
			w.apply(t, a)
		}
	}
	t.Fatalf("no rest after 50 passes: %s", strings.Join(w.log[len(w.log)-10:], " | "))
	return nil
}

// warm starts the instances that revisions are to have before their share grows, as the
// autoscaler does.
func (w *world) warm() (more bool) {
	for id, n := range scheduler.Warming(w.d, w.o) {
		if in := w.o.Instances[id]; !w.cold && in.Ready < n {
			w.ready(id, n)
			more = true
		}
	}
	return more
}

func (w *world) apply(t *testing.T, a scheduler.Action) {
	w.log = append(w.log, fmt.Sprintf("%s %s", a.Kind, a.Revision))
	switch a.Kind {
	case scheduler.SetPhase:
		s := w.d.State.Revisions[a.Revision]
		s.Phase, s.Reason, s.Since, s.Attempt = a.Phase, a.Reason, w.o.Now, w.d.Attempt
		s.WasReady = s.WasReady || a.Phase == wadi.Ready
		if a.Phase == wadi.Pending {
			s.Prefetch = ""
		}
		w.d.State.Revisions[a.Revision] = s
	case scheduler.NoteStart:
		s := w.d.State.Revisions[a.Revision]
		s.StartFailure = a.Reason
		w.d.State.Revisions[a.Revision] = s
	case scheduler.EndPrefetch:
		s := w.d.State.Revisions[a.Revision]
		s.Prefetch = a.Reason
		w.d.State.Revisions[a.Revision] = s
	case scheduler.Reject:
		s := w.d.State.Revisions[a.Revision]
		s.Rejected, s.Attempt = a.Reason, w.d.Attempt
		w.d.State.Revisions[a.Revision] = s
	case scheduler.SetRollout:
		w.d.State.Rollout = a.Rollout
	case scheduler.PutRoute:
		w.checkRoute(t, a.Route)
		w.o.Route = a.Route
	case scheduler.Program:
		if w.o.ProgramTried = w.foreign; !w.foreign {
			w.programed = a.Route
		}
	case scheduler.Unprogram:
		w.programed = wadi.Route{}
	case scheduler.PutBack, scheduler.CheckDrift, scheduler.UndoDrift:
		if got := w.o.Jobs[a.Revision]; got.Index != a.Index {
			t.Fatalf("%s with index %d, job has %d", a.Kind, a.Index, got.Index)
		}
		j := scheduler.JobState{Exists: true, Count: a.Count, Index: a.Index + 1}
		w.o.Jobs[a.Revision], w.o.Adopted[a.Revision] = j, j.Index
	case scheduler.StopJob:
		if got := w.o.Jobs[a.Revision]; got.Index != a.Index {
			t.Fatalf("%s with index %d, job has %d", a.Kind, a.Index, got.Index)
		}
		w.o.Jobs[a.Revision] = scheduler.JobState{Exists: true, Stopped: true, Index: w.o.Jobs[a.Revision].Index + 1}
		w.o.Instances[a.Revision] = scheduler.Instances{}
	case scheduler.PurgeJob:
		if in := w.o.Instances[a.Revision]; in.Alive+in.Stopping > 0 {
			t.Fatalf("purged while %+v: Nomad would forget them at once", in)
		}
		if w.used(a.Revision) {
			t.Fatalf("purged the job of %s while the route is %+v", a.Revision, w.o.Route.Targets)
		}
		delete(w.o.Jobs, a.Revision)
		delete(w.o.Instances, a.Revision)
	case scheduler.ForgetRevision:
		if w.used(a.Revision) {
			t.Fatalf("forgot %s while the route is %+v", a.Revision, w.o.Route.Targets)
		}
		if w.forget != nil {
			w.forget(a.Revision)
		}
		w.d.Revisions = slices.DeleteFunc(w.d.Revisions, func(r wadi.Revision) bool { return r.ID == a.Revision })
	case scheduler.ForgetService:
		w.forgotten = true
	default:
		t.Fatalf("unknown action %s", a.Kind)
	}
}

func (w *world) ready(revision string, n int) {
	w.o.Instances[revision] = scheduler.Instances{Alive: n, Ready: n}
	j := w.o.Jobs[revision]
	j.Count = n
	w.o.Jobs[revision] = j
}

func (w *world) target() string {
	if len(w.o.Route.Targets) == 0 {
		return ""
	}
	return w.o.Route.Targets[0].Revision
}

const r1, r2, r3 = "hello-00001", "hello-00002", "hello-00003"

func TestPlan_FirstRevisionIsRoutedBeforeItIsReady(t *testing.T) {
	w := newWorld(1).settle(t)
	if got := w.target(); got != r1 {
		t.Fatalf("target %q, want %q: callers are to wait for it", got, r1)
	}
	if got := w.d.State.Revisions[r1].Phase; got != wadi.Pending {
		t.Fatalf("phase %q, want pending", got)
	}
	w.ready(r1, 1)
	if got := w.settle(t).d.State.Revisions[r1].Phase; got != wadi.Ready {
		t.Fatalf("phase %q, want ready", got)
	}
}

func TestPlan_SecondRevisionTakesOverWhenReady(t *testing.T) {
	w := newWorld(1)
	w.ready(r1, 1)
	w.settle(t)
	w.submit()
	if got := w.settle(t).target(); got != r1 {
		t.Fatalf("target %q before %s is ready, want %q", got, r2, r1)
	}
	w.ready(r2, 1)
	if got := w.settle(t).target(); got != r2 {
		t.Fatalf("target %q, want %q", got, r2)
	}
	if !w.o.Jobs[r1].Exists {
		t.Fatal("the old revision's job was purged while its instance serves")
	}
	w.ready(r1, 0)
	w.settle(t)
	if w.o.Jobs[r1].Exists || w.d.State.Revisions[r1].Phase != wadi.Retired {
		t.Fatalf("old revision at zero: job %+v, phase %q", w.o.Jobs[r1], w.d.State.Revisions[r1].Phase)
	}
}

// While the mesh carries the old route, its revisions are kept.
func TestPlan_OldRevisionStaysUntilTheRouteIsCarried(t *testing.T) {
	w := newWorld(1)
	w.ready(r1, 1)
	w.settle(t)
	w.foreign = true
	w.submit()
	w.ready(r2, 1)
	if got := w.settle(t).target(); got != r2 {
		t.Fatalf("target %q, want %q", got, r2)
	}
	w.ready(r1, 0)
	w.settle(t)
	if !w.o.Jobs[r1].Exists || w.d.State.Revisions[r1].Phase != wadi.Ready {
		t.Fatalf("old revision while callers are led to it: job %+v, phase %q", w.o.Jobs[r1], w.d.State.Revisions[r1].Phase)
	}
	w.foreign, w.o.ProgramTried = false, false
	w.settle(t)
	if w.o.Jobs[r1].Exists || w.d.State.Revisions[r1].Phase != wadi.Retired {
		t.Fatalf("old revision when the new route is carried: job %+v, phase %q", w.o.Jobs[r1], w.d.State.Revisions[r1].Phase)
	}
}

func TestPlan_RevisionThatNeverBecomesReadyChangesNothing(t *testing.T) {
	w := newWorld(1)
	w.ready(r1, 1)
	w.settle(t)
	w.submit()
	w.settle(t)
	w.o.Instances[r2] = scheduler.Instances{Alive: 1, Diagnosis: "image missing"}
	w.o.Now = w.o.Now.Add(59 * time.Second)
	if got := w.settle(t).d.State.Revisions[r2].Phase; got != wadi.Pending {
		t.Fatalf("phase %q before the deadline, want pending", got)
	}
	w.o.Now = w.o.Now.Add(time.Second)
	w.settle(t)
	got := w.d.State.Revisions[r2]
	if got.Phase != wadi.Failed || !strings.Contains(got.Reason, "image missing") {
		t.Fatalf("state %+v, want failed with Nomad's reason", got)
	}
	if w.target() != r1 {
		t.Fatalf("target %q, want %q", w.target(), r1)
	}
	w.o.Instances[r2] = scheduler.Instances{}
	w.settle(t)
	if w.o.Jobs[r2].Exists || !w.o.Jobs[r1].Exists {
		t.Fatalf("jobs %v, want that of %s alone", w.o.Jobs, r1)
	}
}

// A later attempt restarts failed revisions, once, with the whole deadline; a revision
// that is not wanted any more stays failed.
func TestPlan_TriesAgainWhatFailed(t *testing.T) {
	w := newWorld(2)
	w.o.Now = w.o.Now.Add(time.Hour)
	fail := func(want wadi.Phase) {
		t.Helper()
		w.o.Instances[r2] = scheduler.Instances{Alive: 1, Diagnosis: "no database"}
		w.settle(t)
		w.o.Now = w.o.Now.Add(time.Minute)
		w.settle(t)
		w.o.Instances[r2] = scheduler.Instances{}
		w.settle(t)
		if got := w.d.State.Revisions[r2].Phase; got != want {
			t.Fatalf("phase %q, want %q", got, want)
		}
	}
	w.d.State.Revisions[r1] = wadi.RevisionState{Phase: wadi.Failed}
	fail(wadi.Failed)
	if w.o.Jobs[r2].Exists || w.o.Route.Revisions[r2].Failed == "" {
		t.Fatalf("job %v, route %+v; want a failed revision without a job", w.o.Jobs[r2], w.o.Route)
	}
	w.d.Attempt = 7
	w.settle(t)
	if got := w.d.State.Revisions[r2]; got.Phase != wadi.Pending || !got.Since.Equal(w.o.Now) {
		t.Fatalf("state %+v, want pending since now", got)
	}
	if w.d.State.Revisions[r1].Phase != wadi.Failed || !w.o.Jobs[r2].Exists || w.o.Route.Revisions[r2].Failed != "" {
		t.Fatalf("state %+v, job %v, route %+v; want the newest alone tried again", w.d.State, w.o.Jobs[r2], w.o.Route)
	}
	w.o.Now = w.o.Now.Add(59 * time.Second)
	if w.settle(t); w.d.State.Revisions[r2].Phase != wadi.Pending {
		t.Fatal("the second attempt has less time than the first")
	}
	fail(wadi.Failed) // For good: it is the same attempt.
	w.d.Attempt = 8
	w.settle(t)
	w.ready(r2, 1)
	if w.settle(t); w.d.State.Revisions[r2].Phase != wadi.Ready || w.target() != r2 {
		t.Fatalf("state %+v, target %q; want it ready and routed", w.d.State.Revisions[r2], w.target())
	}
}

func TestPlan_RestoresEditedJobs(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*world)
		want   scheduler.ActionKind
	}{
		{"deleted", func(w *world) { delete(w.o.Jobs, r1) }, scheduler.PutBack},
		{"stopped", func(w *world) { w.o.Jobs[r1] = scheduler.JobState{Exists: true, Stopped: true, Index: 5} }, scheduler.PutBack},
		{"edited", func(w *world) { w.o.Jobs[r1] = scheduler.JobState{Exists: true, Count: 1, Index: 5} }, scheduler.CheckDrift},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(1)
			w.ready(r1, 1)
			w.settle(t)
			tt.change(w)
			got := scheduler.Plan(w.d, w.o)
			if len(got) != 1 || got[0].Kind != tt.want {
				t.Fatalf("plan %+v, want one %s", got, tt.want)
			}
			if tt.want == scheduler.PutBack && got[0].Reason == "" {
				t.Fatal("no reason for people")
			}
			w.settle(t)
		})
	}
}

// What the autoscaler wanted last may be what somebody set in Nomad, above max.
func TestPlan_PutsBackWithinMax(t *testing.T) {
	for most, set := range map[int]func(*world){3: func(w *world) { w.d.Service.Scale.Max = 3 }, 2: func(w *world) { w.o.Ceiling = 2 }} {
		w := newWorld(1)
		set(w)
		w.ready(r1, 1)
		w.settle(t)
		w.o.Wanted = map[string]int{r1: 6}
		delete(w.o.Jobs, r1)
		if got := scheduler.Plan(w.d, w.o); len(got) != 1 || got[0].Kind != scheduler.PutBack || got[0].Count != most {
			t.Errorf("plan %+v, want it put back with %d", got, most)
		}
	}
}

func TestPlan_PinAndRollback(t *testing.T) {
	w := newWorld(1)
	w.ready(r1, 1)
	w.settle(t)
	w.submit()
	w.ready(r2, 1)
	w.settle(t)
	w.ready(r1, 0)
	w.settle(t)
	w.d.Service.Traffic[0].Revision = r1
	w.settle(t)
	if w.target() != r1 || !w.o.Jobs[r1].Exists || w.d.State.Revisions[r1].Phase != wadi.Ready {
		t.Fatalf("after rollback: target %q, job %+v, state %+v", w.target(), w.o.Jobs[r1], w.d.State.Revisions[r1])
	}
}
