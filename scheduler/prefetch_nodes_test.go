package scheduler_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi/scheduler"
)

func TestPrefetchNodes(t *testing.T) {
	const (
		noTag   = "Failed to pull `r.example/web:2`: Error response from daemon: manifest for r.example/web:2 not found: manifest unknown: manifest unknown"
		away    = "Failed to pull `r.example/web:2`: Error response from daemon: Get \"http://r.example/v2/\": dial tcp: connection refused"
		cantRun = `Failed to start container 6db4: Error response from daemon: exec: "/local/noop": permission denied`
		strange = "failed to decode driver config: \x1b[31mred"
	)
	tasks := func(all ...scheduler.PrefetchTask) []scheduler.PrefetchTask { return all }
	for _, tt := range []struct {
		name string
		in   scheduler.PrefetchAlloc
		want scheduler.PrefetchNode
	}{
		{"placed", scheduler.PrefetchAlloc{Status: "pending", Desired: "run"}, scheduler.PrefetchNode{}},
		{"pulls", scheduler.PrefetchAlloc{Status: "pending", Desired: "run", Tasks: tasks(scheduler.PrefetchTask{Name: "web"})}, scheduler.PrefetchNode{}},
		{"complete", scheduler.PrefetchAlloc{Status: "complete", Desired: "run"}, scheduler.PrefetchNode{Done: true}},
		{"one of two", scheduler.PrefetchAlloc{Status: "running", Desired: "run", Tasks: tasks(scheduler.PrefetchTask{Name: "a", Started: true}, scheduler.PrefetchTask{Name: "b"})}, scheduler.PrefetchNode{}},
		{"all have started", scheduler.PrefetchAlloc{Status: "running", Desired: "run", Tasks: tasks(scheduler.PrefetchTask{Name: "a", Started: true})}, scheduler.PrefetchNode{Done: true}},
		{"it is there and can't be started", scheduler.PrefetchAlloc{Status: "failed", Desired: "run", Tasks: tasks(scheduler.PrefetchTask{Name: "a", Failure: cantRun})}, scheduler.PrefetchNode{Done: true}},
		{"hopeless", scheduler.PrefetchAlloc{Status: "pending", Desired: "run", Tasks: tasks(scheduler.PrefetchTask{Name: "web", Failure: noTag})},
			scheduler.PrefetchNode{Failed: true, Reason: "task web: no such tag or digest"}},
		{"tried again", scheduler.PrefetchAlloc{Status: "pending", Desired: "run", Tasks: tasks(scheduler.PrefetchTask{Name: "web", Failure: away})},
			scheduler.PrefetchNode{Reason: "task web: the registry is away"}},
		{"given up", scheduler.PrefetchAlloc{Status: "failed", Desired: "run", Tasks: tasks(scheduler.PrefetchTask{Name: "web", Failure: away})},
			scheduler.PrefetchNode{Failed: true, Reason: "task web: the registry is away"}},
		{"another failure", scheduler.PrefetchAlloc{Status: "failed", Desired: "run", Tasks: tasks(scheduler.PrefetchTask{Name: "web", Failure: strange})},
			scheduler.PrefetchNode{Failed: true, Reason: "task web: failed to decode driver config: [31mred"}},
		{"lost", scheduler.PrefetchAlloc{Status: "lost", Desired: "stop"}, scheduler.PrefetchNode{Failed: true, Reason: "the node is lost"}},
		{"stopped", scheduler.PrefetchAlloc{Status: "complete", Desired: "stop", Tasks: tasks(scheduler.PrefetchTask{Name: "web"})},
			scheduler.PrefetchNode{Failed: true, Reason: "its task was stopped"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := scheduler.PrefetchNodes([]scheduler.PrefetchAlloc{tt.in})
			if diff := cmp.Diff([]scheduler.PrefetchNode{tt.want}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	got := scheduler.PrefetchNodes([]scheduler.PrefetchAlloc{
		{Node: "b", Created: 2, Status: "complete", Desired: "run"}, {Node: "b", Created: 1, Status: "lost"}, {Node: "a", Status: "pending", Desired: "run"},
	})
	if diff := cmp.Diff([]scheduler.PrefetchNode{{Name: "a"}, {Name: "b", Done: true}}, got); diff != "" {
		t.Error(diff)
	}
}
