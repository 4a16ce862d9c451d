package scheduler_test

import (
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// prefetching is a service whose first revision serves, with a second one whose images are
// fetched.
func prefetching(t *testing.T, initial int) *world {
	w := newWorld(1)
	w.ready(r1, 1)
	w.settle(t)
	w.d.Service.ImagePrefetch, w.d.Service.Scale.Initial = true, initial
	w.o.Prefetch = map[string]scheduler.Prefetch{}
	w.submit()
	return w.settle(t)
}

func (w *world) fetched(nodes ...scheduler.PrefetchNode) {
	w.o.Prefetch[r2] = scheduler.Prefetch{Placed: true, Nodes: nodes}
}

func (w *world) wantTarget(t *testing.T, want, when string) {
	t.Helper()
	if got := w.settle(t).target(); got != want {
		t.Fatalf("%s: the traffic goes to %s, want %s", when, got, want)
	}
}

func TestPlan_PrefetchHoldsTheTraffic(t *testing.T) {
	for _, initial := range []int{0, 1} {
		w := prefetching(t, initial)
		w.ready(r2, initial) // Such as by a request with its tag.
		w.wantTarget(t, r1, "nothing is known yet")
		w.fetched(scheduler.PrefetchNode{Name: "a", Done: true}, scheduler.PrefetchNode{Name: "b"})
		w.wantTarget(t, r1, "one node pulls")
		w.o.Prefetch[r2] = scheduler.Prefetch{Nodes: []scheduler.PrefetchNode{{Name: "a", Done: true}}}
		w.wantTarget(t, r1, "not all nodes are known")
		w.o.Prefetch[r2] = scheduler.Prefetch{Placed: true, Problem: "Nomad does not answer"}
		w.wantTarget(t, r1, "nodes are not known")
		w.fetched(scheduler.PrefetchNode{Name: "a", Done: true}, scheduler.PrefetchNode{Name: "b", Failed: true, Reason: "not authorised"})
		w.wantTarget(t, r2, "each node has them or does not get them")
		if got, want := w.d.State.Revisions[r2].Prefetch, "1 of 2 nodes has the images; node b: not authorised"; got != want {
			t.Errorf("it ended with %q, want %q", got, want)
		}
	}
}

func TestPlan_PrefetchEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(w *world)
		want string // Of the memory.
	}{
		{"nothing to fetch", func(w *world) { w.o.Prefetch[r2] = scheduler.Prefetch{Off: "no task has an image"} }, "no task has an image"},
		{"no node", func(w *world) { w.fetched() }, "no node could run it: no image is fetched"},
		{"nodes without capacity only", func(w *world) { w.o.Prefetch[r2] = scheduler.Prefetch{Placed: true, NoRoom: 2} }, "0 of 2 nodes have the images; 2 nodes have no capacity for them"},
		{"deadline", func(w *world) { w.fetched(scheduler.PrefetchNode{Name: "a"}); w.o.Now = w.o.Now.Add(30 * time.Second) },
			"given up after 30s: 0 of 1 node has the images; node a pulls them"},
		{"deadline in the queue", func(w *world) {
			w.o.Prefetch[r2] = scheduler.Prefetch{Queued: true}
			w.o.Now = w.o.Now.Add(30 * time.Second)
		}, "given up after 30s: the images of other revisions are fetched first"},
		{"switched off", func(w *world) { w.d.Service.ImagePrefetch = false }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := prefetching(t, 1)
			w.ready(r2, 1)
			w.wantTarget(t, r1, "it waits")
			tt.end(w)
			w.wantTarget(t, r2, "it ended")
			if got := w.d.State.Revisions[r2].Prefetch; got != tt.want {
				t.Errorf("remembered %q, want %q", got, tt.want)
			}
		})
	}
}

// Time in which no leader saw it does not count, and a long progress has a bound.
func TestPrefetchUntil(t *testing.T) {
	since := time.Unix(1000, 0)
	rev := wadi.Revision{ID: r1}
	rev.Spec.Timeout.Progress = wadi.Duration(time.Hour)
	s := wadi.RevisionState{Since: since}
	if got, want := scheduler.PrefetchUntil(rev, s, scheduler.Observed{}), since.Add(5*time.Minute); !got.Equal(want) {
		t.Errorf("until %v, want %v", got, want)
	}
	rev.Spec.Timeout.Progress = wadi.Duration(time.Minute)
	o := scheduler.Observed{Began: map[string]time.Time{r1: since.Add(time.Hour)}}
	if got, want := scheduler.PrefetchUntil(rev, s, o), since.Add(time.Hour+30*time.Second); !got.Equal(want) {
		t.Errorf("until %v, want %v", got, want)
	}
}

func TestAwaitsImages(t *testing.T) {
	on := wadi.Service{ImagePrefetch: true, Traffic: []wadi.TrafficTarget{{Revision: r1}}}
	for _, tt := range []struct {
		name     string
		svc      wadi.Service
		revision string
		state    wadi.RevisionState
		want     bool
	}{
		{"new", on, r3, wadi.RevisionState{}, true},
		{"pending", on, r3, wadi.RevisionState{Phase: wadi.Pending}, true},
		{"named", on, r1, wadi.RevisionState{Phase: wadi.Pending}, true},
		{"off", wadi.Service{}, r3, wadi.RevisionState{Phase: wadi.Pending}, false},
		{"superseded", on, r2, wadi.RevisionState{Phase: wadi.Pending}, false},
		{"it ended", on, r3, wadi.RevisionState{Phase: wadi.Pending, Prefetch: "all"}, false},
		{"ready", on, r3, wadi.RevisionState{Phase: wadi.Ready}, false},
		{"failed", on, r3, wadi.RevisionState{Phase: wadi.Failed}, false},
		{"was ready", on, r3, wadi.RevisionState{Phase: wadi.Pending, WasReady: true}, false},
	} {
		if got := scheduler.AwaitsImages(&tt.svc, r3, tt.revision, tt.state); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
}

// A job that is gone comes back without the instances that wait for the images.
func TestPlan_PrefetchPutsBackNothing(t *testing.T) {
	w := prefetching(t, 1)
	w.d.Service.Scale.Min = 2
	delete(w.o.Jobs, r2)
	if got := w.settle(t).o.Jobs[r2]; !got.Running() || got.Count != 0 {
		t.Errorf("job %+v, want count 0", got)
	}
}

// A revision that is tried again has its images fetched again.
func TestPlan_PrefetchOfNextAttempt(t *testing.T) {
	w := prefetching(t, 1)
	w.fetched(scheduler.PrefetchNode{Name: "a", Failed: true, Reason: "no such image"})
	w.settle(t)
	w.o.Now = w.o.Now.Add(2 * time.Minute)
	if s := w.settle(t).d.State.Revisions[r2]; s.Phase != wadi.Failed || s.Prefetch == "" {
		t.Fatalf("state %+v, want failed", s)
	}
	delete(w.o.Prefetch, r2)
	w.d.Attempt++
	if s := w.settle(t).d.State.Revisions[r2]; s.Phase != wadi.Pending || s.Prefetch != "" {
		t.Errorf("state %+v, want one that waits for its images", s)
	}
}

func TestEvaluate_PrefetchStartsNothing(t *testing.T) {
	in := scheduler.EvalInput{Scaling: &wadi.Scaling{Initial: 1, Min: 2, Max: 5}, Routed: true, Revision: r1, Wakeable: true}
	if scheduler.AtRest(&in) {
		t.Fatal("a new revision is at rest")
	}
	in.AwaitsImages = true
	if !scheduler.AtRest(&in) {
		t.Error("it starts before its images are there")
	}
}

func TestPrefetch_TextIsBounded(t *testing.T) {
	p := scheduler.Prefetch{Placed: true}
	for range 500 {
		p.Nodes = append(p.Nodes, scheduler.PrefetchNode{Name: strings.Repeat("n", 100), Failed: true, Reason: "\x1b[31m" + strings.Repeat("r", 1000)})
	}
	if got := p.String(); len(got) > 500 || strings.Contains(got, "\x1b") || !strings.HasPrefix(got, "0 of 500 nodes have the images; node n") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
	p.Nodes = p.Nodes[:5]
	for i := range p.Nodes {
		p.Nodes[i] = scheduler.PrefetchNode{Name: string(rune('a' + i))}
	}
	p.Nodes[4].Reason, p.Skipped = "too many requests", []string{"the image of task x is not fetched: why"}
	want := "0 of 5 nodes have the images; node e: too many requests; node a pulls them; node b pulls them; and 2 nodes more; the image of task x is not fetched: why"
	if got := p.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
