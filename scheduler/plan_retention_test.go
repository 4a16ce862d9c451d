package scheduler_test

import (
	"slices"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

func TestPlan_RetentionKeepsTheRouted(t *testing.T) {
	w := newWorld(1)
	w.ready(r1, 1)
	w.settle(t)
	for i := range 4 {
		w.submit()
		w.ready(w.d.Latest, 1)
		w.settle(t)
		w.ready(wadi.RevisionID("hello", i+1), 0)
		w.settle(t)
	}
	var got []string
	for _, r := range w.d.Revisions {
		got = append(got, r.ID)
	}
	if want := []string{"hello-00004", "hello-00005"}; !slices.Equal(got, want) {
		t.Fatalf("kept %v, want %v (keep = 1 besides the routed)", got, want)
	}
}

func TestPlan_RetentionByAge(t *testing.T) {
	for _, tt := range []struct {
		name string
		ages scheduler.Retention
		want int // Remaining of four revisions; one is routed, and keep is 1.
	}{
		{"no ages", scheduler.Retention{}, 2},
		{"submitted lately", scheduler.Retention{KeepFor: time.Hour}, 4},
		{"routed lately", scheduler.Retention{KeepActiveFor: time.Hour}, 4},
		{"too many of them", scheduler.Retention{KeepFor: time.Hour, Max: 2}, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(4)
			w.d.Retention = tt.ages
			for i, r := range w.d.Revisions {
				w.d.Revisions[i].Created = w.o.Now.Unix()
				w.d.State.Revisions[r.ID] = wadi.RevisionState{Phase: wadi.Retired, Since: w.o.Now}
				delete(w.o.Jobs, r.ID)
			}
			w.d.State.Revisions[w.d.Latest] = wadi.RevisionState{Phase: wadi.Ready, Since: w.o.Now}
			if got := len(w.settle(t).d.Revisions); got != tt.want {
				t.Fatalf("%d revisions left, want %d: %v", got, tt.want, w.log)
			}
		})
	}
}

// What callers want of a revision decides before numbers and ages do, but never over traffic.
func TestPlan_RetentionOfMarked(t *testing.T) {
	old := func(marks map[string]wadi.Mark) *world {
		w := newWorld(5) // The latest is routed; keep is 1.
		for _, r := range w.d.Revisions {
			w.d.State.Revisions[r.ID] = wadi.RevisionState{Phase: wadi.Retired}
			delete(w.o.Jobs, r.ID)
		}
		w.d.State.Revisions[w.d.Latest] = wadi.RevisionState{Phase: wadi.Ready}
		w.d.Marks = marks
		return w
	}
	for _, tt := range []struct {
		name  string
		marks map[string]wadi.Mark
		want  []string
	}{
		{"none", nil, []string{"hello-00004", "hello-00005"}},
		{"pinned ones are kept besides", map[string]wadi.Mark{"hello-00001": {Pinned: true}, "hello-00003": {Pinned: true}},
			[]string{"hello-00001", "hello-00003", "hello-00004", "hello-00005"}},
		{"a deleted one is not kept", map[string]wadi.Mark{"hello-00004": {Deleted: true}}, []string{"hello-00003", "hello-00005"}},
		{"the latest is", map[string]wadi.Mark{"hello-00005": {Deleted: true}}, []string{"hello-00004", "hello-00005"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, r := range old(tt.marks).settle(t).d.Revisions {
				got = append(got, r.ID)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("kept %v, want %v", got, tt.want)
			}
		})
	}
}

// A deleted revision is drained before its job is purged, and forgotten after that.
func TestPlan_DeletedRevisionDrainsFirst(t *testing.T) {
	w := newWorld(1)
	w.ready(r1, 1)
	w.settle(t)
	w.submit()
	w.ready(w.d.Latest, 1)
	w.d.Marks = map[string]wadi.Mark{r1: {Deleted: true}}
	w.d.Service.Retention.Keep = 9
	w.settle(t)
	if n := len(w.d.Revisions); n != 2 || !w.o.Jobs[r1].Exists {
		t.Fatalf("%d revisions while one has an instance, its job %+v", n, w.o.Jobs[r1])
	}
	w.ready(r1, 0)
	w.settle(t)
	if n := len(w.d.Revisions); n != 1 || w.o.Jobs[r1].Exists {
		t.Errorf("%d revisions left, the job of the deleted one is %+v", n, w.o.Jobs[r1])
	}
}

// The revision that "latest" stands for is kept while the traffic is at another: it is what
// a caller gets back to, as the newest one failed.
func TestPlan_RetentionKeepsTheLatestReady(t *testing.T) {
	w := newWorld(4)
	for _, r := range w.d.Revisions {
		w.d.State.Revisions[r.ID] = wadi.RevisionState{Phase: wadi.Retired, WasReady: true, Since: w.o.Now}
		delete(w.o.Jobs, r.ID)
	}
	w.d.State.Revisions[w.d.Latest] = wadi.RevisionState{Phase: wadi.Failed, Since: w.o.Now}
	w.d.State.Revisions[r1] = wadi.RevisionState{Phase: wadi.Ready, WasReady: true, Since: w.o.Now}
	w.d.Service.Traffic = []wadi.TrafficTarget{{Revision: r1, Percent: 100}}
	w.d.Service.Retention.Keep = 0
	if got, want := w.settle(t).kept(), []string{r1, r3, "hello-00004"}; !slices.Equal(got, want) {
		t.Fatalf("kept %v, want %v", got, want)
	}
	w.d.Service.Traffic = []wadi.TrafficTarget{{Revision: wadi.Latest, Percent: 100}}
	if got := w.settle(t).target(); got != r3 {
		t.Fatalf("the traffic of latest is at %s, want %s", got, r3)
	}
}

// Those that had traffic last are kept, and not those that were submitted last; before all
// others go those that never were ready.
func TestPlan_RetentionKeepsTheLastUsed(t *testing.T) {
	w := newWorld(6) // The latest is routed.
	w.d.Service.Retention.Keep = 2
	ago := func(d time.Duration) time.Time { return w.o.Now.Add(-d) }
	w.d.State.Revisions = map[string]wadi.RevisionState{
		r1:            {Phase: wadi.Retired, WasReady: true, Since: ago(time.Minute)}, // Traffic went back to it for a while.
		r2:            {Phase: wadi.Retired, WasReady: true, Since: ago(2 * time.Hour)},
		r3:            {Phase: wadi.Retired, WasReady: true, Since: ago(time.Hour)},
		"hello-00004": {Phase: wadi.Failed, Since: ago(time.Second)},
		"hello-00005": {Phase: wadi.Retired, Since: ago(time.Second)},
		"hello-00006": {Phase: wadi.Ready, WasReady: true, Since: w.o.Now},
	}
	for _, r := range w.d.Revisions[:5] {
		delete(w.o.Jobs, r.ID)
	}
	if got, want := w.settle(t).kept(), []string{r1, r3, "hello-00006"}; !slices.Equal(got, want) {
		t.Fatalf("kept %v, want %v", got, want)
	}
}

// A service's own ages count in place of the agent's, longer ones and shorter ones.
func TestPlan_RetentionByTheServicesOwnAges(t *testing.T) {
	d := func(d time.Duration) *wadi.Duration { return (*wadi.Duration)(&d) }
	agent := scheduler.Retention{KeepFor: 2 * time.Hour, KeepActiveFor: 2 * time.Hour}
	for _, tt := range []struct {
		name string
		own  wadi.Retention
		want int // Remaining of four revisions, all an hour old; one is routed.
	}{
		{"none", wadi.Retention{}, 4},
		{"one is shorter", wadi.Retention{KeepFor: d(0)}, 4},
		{"both are shorter", wadi.Retention{KeepFor: d(0), KeepActiveFor: d(time.Hour)}, 1},
		{"longer than that", wadi.Retention{KeepFor: d(0), KeepActiveFor: d(time.Hour + 1)}, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(4)
			w.d.Retention, w.d.Service.Retention = agent, tt.own
			for i, r := range w.d.Revisions {
				w.d.Revisions[i].Created = w.o.Now.Unix()
				w.d.State.Revisions[r.ID] = wadi.RevisionState{Phase: wadi.Retired, WasReady: true, Since: w.o.Now}
				delete(w.o.Jobs, r.ID)
			}
			w.d.State.Revisions[w.d.Latest] = wadi.RevisionState{Phase: wadi.Ready, WasReady: true, Since: w.o.Now}
			w.o.Now = w.o.Now.Add(time.Hour)
			if got := len(w.settle(t).d.Revisions); got != tt.want {
				t.Fatalf("%d revisions left, want %d: %v", got, tt.want, w.log)
			}
		})
	}
}

// kept are the IDs of the revisions that there are.
func (w *world) kept() (ids []string) {
	for _, r := range w.d.Revisions {
		ids = append(ids, r.ID)
	}
	return ids
}
