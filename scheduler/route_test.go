package scheduler_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// used reports whether callers may come to the revision.
func (w *world) used(revision string) bool {
	return !w.d.Deleting && w.d.State.Revisions[revision].Phase != wadi.Failed && scheduler.Targeted(w.o.Route, revision)
}

// checkRoute expects a route's weights to sum up to all, and its revisions to have
// jobs.
func (w *world) checkRoute(t *testing.T, r wadi.Route) {
	t.Helper()
	sum := 0
	for _, target := range r.Targets {
		sum += target.Weight
		newly := !scheduler.Targeted(w.o.Route, target.Revision)
		if s := w.d.State.Revisions[target.Revision]; newly && s.Phase != wadi.Failed && !w.o.Jobs[target.Revision].Exists {
			t.Fatalf("the route names %s in phase %q before it has a job: %v", target.Revision, s.Phase, w.log)
		}
	}
	if sum != wadi.WeightAll && len(r.Targets) > 0 {
		t.Fatalf("weights sum to %d: %+v", sum, r.Targets)
	}
}

// share is "60 latest" or "0 hello-00001 tag".
func share(texts ...string) []wadi.TrafficTarget {
	var out []wadi.TrafficTarget
	for _, text := range texts {
		var t wadi.TrafficTarget
		_, _ = fmt.Sscan(text, &t.Percent, &t.Revision, &t.Tag) // Without a tag it ends early.
		out = append(out, t)
	}
	return out
}

func (w *world) targets() []string {
	var out []string
	for _, t := range w.o.Route.Targets {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%d %s %s", t.Weight, t.Revision, t.Tag)))
	}
	return out
}

func (w *world) wantTargets(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, w.targets()); diff != "" {
		t.Fatalf("targets (-want +got):\n%s\nstate %+v\n%v", diff, w.d.State.Revisions, w.log)
	}
}

// threeRevisions is a service whose third revision has the traffic, and whose first
// two were ready and are retired.
func threeRevisions(t *testing.T) *world {
	w := newWorld(0)
	w.d.Service.Retention.Keep = 9
	for range 3 {
		w.submit()
		w.ready(w.d.Latest, 1)
		w.settle(t)
	}
	w.ready(r1, 0)
	w.ready(r2, 0)
	w.settle(t)
	for _, id := range []string{r1, r2} {
		if s := w.d.State.Revisions[id]; s.Phase != wadi.Retired || w.o.Jobs[id].Exists {
			t.Fatalf("%s: %+v, job %+v", id, s, w.o.Jobs[id])
		}
	}
	return w
}

func TestPlan_Traffic(t *testing.T) {
	const bad, next = "hello-00004", "hello-00005"
	for _, tt := range []struct {
		name    string
		traffic []wadi.TrafficTarget
		change  func(t *testing.T, w *world) // After the traffic was set, and all came to rest.
		want    []string
		jobs    []string // Revisions that have one.
	}{
		{"split", share("90 latest", "10 hello-00001"), nil, []string{"9000 " + r3, "1000 " + r1}, []string{r1, r3}},
		{"a tag alone keeps a revision", share("100 latest", "0 hello-00002 old"), nil, []string{"10000 " + r3, "0 " + r2 + " old"}, []string{r2, r3}},
		{"a third", share("33.33 hello-00001", "33.33 hello-00002", "33.34 latest"), nil,
			[]string{"3333 " + r1, "3333 " + r2, "3334 " + r3}, []string{r1, r2, r3}},
		{"latest and its ID are one", share("60 latest", "40 hello-00003"), nil, []string{"10000 " + r3}, []string{r3}},
		{"nor with one that has a tag", share("40 hello-00003 now", "60 latest"), nil, []string{"4000 " + r3 + " now", "6000 " + r3}, []string{r3}},
		{"but not those with a tag", share("60 latest", "40 hello-00003 now"), nil, []string{"6000 " + r3, "4000 " + r3 + " now"}, []string{r3}},
		{"all to an old one", share("100 hello-00001"), func(t *testing.T, w *world) { w.ready(r3, 0); w.settle(t) }, []string{"10000 " + r1}, []string{r1}},
		{"and back to the latest", share("100 hello-00001"), func(t *testing.T, w *world) {
			w.ready(r3, 0)
			w.settle(t) // It retires, and is still the newest that was ready.
			w.d.Service.Traffic = share("100 latest")
			w.settle(t)
			w.ready(r1, 0)
			w.settle(t)
		}, []string{"10000 " + r3}, []string{r3}},
		{"latest moves its own share only", share("90 latest", "10 hello-00001 one"), func(t *testing.T, w *world) {
			w.submit()
			w.settle(t)
			w.wantTargets(t, "9000 "+r3, "1000 "+r1+" one")
			w.ready(bad, 1)
			w.settle(t)
			w.ready(r3, 0)
			w.settle(t)
		}, []string{"9000 " + bad, "1000 " + r1 + " one"}, []string{r1, bad}},
		{"a named one that is not ready yet", share("100 latest"), func(t *testing.T, w *world) {
			w.submit()
			w.d.Service.Traffic = share("50 hello-00004", "50 hello-00003")
			w.settle(t)
			w.wantTargets(t, "10000 "+r3)
			w.ready(bad, 1)
			w.settle(t)
		}, []string{"5000 " + bad, "5000 " + r3}, []string{r3, bad}},
		{"a named one that fails", share("100 latest"), func(t *testing.T, w *world) {
			w.submit()
			w.d.Service.Traffic = share("50 hello-00004", "50 hello-00003")
			w.settle(t)
			w.o.Now = w.o.Now.Add(time.Hour)
			w.settle(t)
			if why := w.trafficPending(); !strings.Contains(why, bad+" failed") {
				t.Errorf("held because %q", why)
			}
		}, []string{"10000 " + r3}, []string{r3}},
		{"a named one that another follows before it is ready", share("100 latest"), func(t *testing.T, w *world) {
			w.submit()
			w.d.Service.Traffic = share("50 hello-00004", "50 latest")
			w.settle(t)
			w.submit()
			w.settle(t)
			w.ready(next, 1)
			w.settle(t)
			w.wantTargets(t, "10000 "+r3)
			w.ready(bad, 1)
			w.settle(t)
			w.ready(r3, 0)
			w.settle(t)
		}, []string{"5000 " + bad, "5000 " + next}, []string{bad, next}},
		{"a named one that another follows, and that fails", share("100 latest"), func(t *testing.T, w *world) {
			w.submit()
			w.d.Service.Traffic = share("50 hello-00004", "50 latest")
			w.settle(t)
			w.submit()
			w.ready(next, 1)
			w.settle(t)
			w.o.Now = w.o.Now.Add(time.Hour)
			w.settle(t)
			w.d.Service.Traffic = share("100 latest")
			w.settle(t)
			w.ready(r3, 0)
			w.settle(t)
			if got := w.d.State.Revisions[bad].Phase; got != wadi.Failed {
				t.Errorf("phase %q, want failed", got)
			}
		}, []string{"10000 " + next}, []string{next}},
		{"one that never was ready is named", share("100 latest"), func(t *testing.T, w *world) {
			w.submit()
			w.settle(t)
			w.submit()
			w.settle(t) // The fourth retires.
			if s := w.d.State.Revisions[bad]; s.Phase != wadi.Retired || s.WasReady {
				t.Fatalf("%s is %+v", bad, s)
			}
			w.ready(next, 1)
			w.settle(t)
			w.d.Service.Traffic = share("100 hello-00004")
			w.settle(t)
			w.wantTargets(t, "10000 "+next)
			if s := w.d.State.Revisions[bad]; s.Phase != wadi.Pending || !w.o.Jobs[bad].Exists {
				t.Fatalf("%s is %+v, want it to try again", bad, s)
			}
			w.ready(bad, 1)
			w.settle(t)
			w.ready(next, 0)
			w.ready(r3, 0)
			w.settle(t)
		}, []string{"10000 " + bad}, []string{bad}},
		{"callers of a tag may wait for it", share("100 latest"), func(t *testing.T, w *world) {
			w.submit()
			w.d.Service.Traffic = share("100 hello-00003", "0 hello-00004 new")
			w.settle(t)
		}, []string{"10000 " + r3, "0 " + bad + " new"}, []string{r3, bad}},
		{"a tag that is removed", share("100 latest", "0 hello-00002 old"), func(t *testing.T, w *world) {
			w.d.Service.Traffic = share("100 latest")
			w.settle(t)
		}, []string{"10000 " + r3}, []string{r3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := threeRevisions(t)
			w.d.Service.Traffic = tt.traffic
			w.settle(t)
			if tt.change != nil {
				tt.change(t, w)
			}
			w.wantTargets(t, tt.want...)
			var jobs []string
			for _, r := range w.d.Revisions {
				if w.o.Jobs[r.ID].Running() {
					jobs = append(jobs, r.ID)
				}
			}
			if diff := cmp.Diff(tt.jobs, jobs); diff != "" {
				t.Errorf("jobs (-want +got):\n%s", diff)
			}
		})
	}
}

func (w *world) trafficPending() string {
	return scheduler.TrafficPending(w.d, w.o)
}

// Other changes do not wait with the traffic.
func TestPlan_HeldTrafficHoldsNothingElse(t *testing.T) {
	w := threeRevisions(t)
	w.submit()
	w.d.Service.Traffic = share("100 hello-00004")
	w.d.Service.Intentions = &wadi.Intentions{Allow: []string{}}
	w.d.Service.Scale.BurstCapacity = -1
	w.settle(t)
	w.wantTargets(t, "10000 "+r3)
	if r := w.o.Route; r.Intentions == nil || !r.ThroughActivator {
		t.Errorf("route %+v", r)
	}
	if why := w.trafficPending(); !strings.Contains(why, "until hello-00004 is ready") {
		t.Errorf("held because %q", why)
	}
}

// Old targets that can't answer are not kept: callers wait for the new ones.
func TestPlan_FailedTargetsHoldNothing(t *testing.T) {
	w := newWorld(1).settle(t)
	w.o.Now = w.o.Now.Add(time.Hour)
	w.settle(t)
	w.wantTargets(t, "10000 "+r1)
	w.submit()
	w.settle(t)
	w.wantTargets(t, "10000 "+r2)
}

// The job of a retired revision can't be put back: the traffic stays where it is.
func TestPlan_JobBeforeRoute(t *testing.T) {
	w := threeRevisions(t)
	w.d.Service.Traffic = share("100 hello-00001")
	acts := scheduler.Plan(w.d, w.o)
	if len(acts) != 2 || acts[0].Kind != scheduler.PutBack || acts[0].Revision != r1 || acts[1].Kind != scheduler.SetPhase {
		t.Fatalf("plan %+v, want the job put back, and only then the phase", acts)
	}
	// The same for a tag alone; the rest of the route changes at once.
	w = threeRevisions(t)
	w.d.Service.Traffic = share("100 latest", "0 hello-00001 old")
	w.d.Service.Intentions = &wadi.Intentions{}
	acts = scheduler.Plan(w.d, w.o)
	if len(acts) != 3 || acts[0].Kind != scheduler.PutRoute || len(acts[0].Route.Targets) != 1 || acts[1].Kind != scheduler.PutBack {
		t.Fatalf("plan %+v, want the route without the tag, then the job", acts)
	}
	// Purged, and the leader ended before it could remember.
	w = threeRevisions(t)
	s := w.d.State.Revisions[r1]
	s.Phase = wadi.Ready
	w.d.State.Revisions[r1] = s
	w.ready(r3, 0) // Else it is to have instances first.
	w.d.Service.Traffic = share("100 hello-00001")
	acts = scheduler.Plan(w.d, w.o)
	if len(acts) < 2 || acts[0].Kind != scheduler.PutBack || acts[1].Kind != scheduler.PutRoute {
		t.Fatalf("plan %+v, want the job put back, and only then the route", acts)
	}
}

func TestPlan_MinIsForTheRouted(t *testing.T) {
	w := threeRevisions(t)
	w.d.Service.Scale.Min = 2
	w.d.Service.Traffic = share("100 latest", "0 hello-00001 old")
	w.settle(t)
	if got := w.o.Jobs[r1].Count; got != 2 {
		t.Errorf("put back with %d, want min", got)
	}
	for id, want := range map[string]bool{r1: true, r2: false, r3: true} {
		if got := scheduler.Routed(&w.d.Service, &w.o.Route, id, w.d.Latest, w.d.State.Revisions[id].Phase); got != want {
			t.Errorf("%s routed: %t, want %t", id, got, want)
		}
	}
}

// A revision that the traffic names gets what it needs to become ready, also when a
// newer one was submitted.
func TestRouted_NamedAndPending(t *testing.T) {
	w := newWorld(2)
	w.d.Service.Traffic = share("50 hello-00001", "50 latest")
	for _, phase := range []wadi.Phase{wadi.Pending, wadi.Ready, wadi.Failed} {
		if got, want := scheduler.Routed(&w.d.Service, &wadi.Route{}, r1, r2, phase), phase != wadi.Failed; got != want {
			t.Errorf("in phase %s routed: %t, want %t", phase, got, want)
		}
	}
}

func TestPlan_RetentionCountsTheUnrouted(t *testing.T) {
	w := threeRevisions(t)
	w.d.Service.Retention.Keep = 0
	w.d.Service.Traffic = share("99 latest", "1 hello-00001")
	w.settle(t)
	var got []string
	for _, r := range w.d.Revisions {
		got = append(got, r.ID)
	}
	if want := []string{r1, r3}; !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
}

func TestRouteOf_MeshOfSeveral(t *testing.T) {
	for _, tt := range []struct {
		modes []wadi.MeshMode
		want  wadi.MeshMode
	}{
		{[]wadi.MeshMode{wadi.MeshEnvoy, wadi.MeshOff}, wadi.MeshEnvoy},
		{[]wadi.MeshMode{wadi.MeshOff, wadi.MeshEnvoy}, wadi.MeshEnvoy},
		{[]wadi.MeshMode{wadi.MeshOff, wadi.MeshOff}, wadi.MeshOff},
	} {
		w := newWorld(2)
		w.d.Service.Mesh = wadi.MeshEnvoy
		for i, m := range tt.modes {
			w.d.Revisions[i].Spec.Mesh = m
		}
		w.d.Service.Traffic = share("50 hello-00001", "50 hello-00002")
		if got := w.submittedRoute().Mesh; got != tt.want {
			t.Errorf("%v: route has %q, want %q", tt.modes, got, tt.want)
		}
	}
}
