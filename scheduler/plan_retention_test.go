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
