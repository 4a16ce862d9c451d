package scheduler_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi/scheduler"
)

func TestPlanPrefetches(t *testing.T) {
	want := func(revision string, since int64) scheduler.PrefetchWant {
		return scheduler.PrefetchWant{Namespace: "shop", Service: "hello", Revision: revision, Since: time.Unix(since, 0)}
	}
	job := func(namespace, revision string) scheduler.PrefetchJob {
		return scheduler.PrefetchJob{Namespace: namespace, ID: revision + "-prefetch", Revision: revision, Index: 3}
	}
	elsewhere := func(namespace, revision string) scheduler.PrefetchWant {
		return scheduler.PrefetchWant{Namespace: namespace, Service: "hello", Revision: revision, Since: time.Unix(9, 0)}
	}
	var hogs []scheduler.PrefetchWant
	var hogged []scheduler.PrefetchJob
	for _, r := range []string{"a", "b", "c", "d"} {
		hogs, hogged = append(hogs, want(r, 1)), append(hogged, job("shop", r))
	}
	stopped := job("shop", "a")
	stopped.Stopped = true
	for _, tt := range []struct {
		name string
		want []scheduler.PrefetchWant
		jobs []scheduler.PrefetchJob
		plan string
	}{
		{"nothing", nil, nil, ""},
		{"a new one", []scheduler.PrefetchWant{want("a", 1)}, nil, "start a"},
		{"under way", []scheduler.PrefetchWant{want("a", 1)}, []scheduler.PrefetchJob{job("shop", "a")}, "read a"},
		{"over", nil, []scheduler.PrefetchJob{job("shop", "a")}, "purge a"},
		{"in another namespace", []scheduler.PrefetchWant{want("a", 1)}, []scheduler.PrefetchJob{job("other", "a")}, "purge a, start a"},
		{"stopped by hand", []scheduler.PrefetchWant{want("a", 1)}, []scheduler.PrefetchJob{stopped}, "stopped a"},
		{"the oldest first, but what is under way goes on", []scheduler.PrefetchWant{
			want("f", 6), want("e", 5), want("d", 4), want("c", 3), want("b", 2), want("a", 2),
		}, []scheduler.PrefetchJob{job("shop", "f")}, "start a, start b, start c, enqueue d, enqueue e, read f"},
		{"a namespace that has all of them leaves one to each other", append(slices.Clone(hogs), want("e", 2), elsewhere("bank", "x"), elsewhere("bank", "y"), elsewhere("club", "z")),
			hogged, "read a, read b, read c, read d, enqueue e, start x, enqueue y, start z"},
		{"but that has a bound", append(slices.Clone(hogs), elsewhere("1", "p"), elsewhere("2", "q"), elsewhere("3", "r"), elsewhere("4", "s"), elsewhere("5", "t")),
			hogged, "read a, read b, read c, read d, start p, start q, start r, start s, enqueue t"},
	} {
		var got []string
		for _, s := range scheduler.PlanPrefetches(tt.want, tt.jobs) {
			id := s.Want.Revision
			if s.Kind == scheduler.PrefetchPurge {
				id = s.Job.Revision
			}
			got = append(got, fmt.Sprintf("%s %s", s.Kind, id))
		}
		if strings.Join(got, ", ") != tt.plan {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.plan)
		}
	}
}
