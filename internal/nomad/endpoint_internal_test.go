package nomad

import (
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
)

// Only an ended instance with an error that Nomad calls unrecoverable is hopeless.
func TestEndpoint_Hopeless(t *testing.T) {
	gone := func(reason string) *api.TaskState {
		return &api.TaskState{State: "dead", Failed: true, Events: []*api.TaskEvent{
			{Type: api.TaskDriverFailure, DisplayMessage: "no such program"},
			{Type: api.TaskNotRestarting, Details: map[string]string{"restart_reason": reason}},
		}}
	}
	for _, tt := range []struct {
		name   string
		status string
		tasks  map[string]*api.TaskState
		want   bool
	}{
		{"unrecoverable", "failed", map[string]*api.TaskState{"web": gone("Error was unrecoverable"), "queue-proxy": {}}, true},
		{"out of restarts", "failed", map[string]*api.TaskState{"web": gone(`Exceeded allowed attempts 3 in interval 1m0s and mode is "fail"`)}, false},
		{"another task runs on", "running", map[string]*api.TaskState{"web": gone("Error was unrecoverable")}, false},
		{"nothing is known", "failed", map[string]*api.TaskState{"web": nil}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := endpoint(allocation{ID: "a", JobID: "hello-00001", ClientStatus: tt.status, TaskStates: tt.tasks})
			if e.Hopeless != tt.want {
				t.Errorf("got %v, want %v", e.Hopeless, tt.want)
			}
		})
	}
}

func TestKillAfter(t *testing.T) {
	killing := func(limit string) *api.TaskEvent {
		return &api.TaskEvent{Type: api.TaskKilling, Details: map[string]string{"kill_timeout": limit}}
	}
	for _, tt := range []struct {
		state *api.TaskState
		want  time.Duration
	}{
		{nil, 0},
		{&api.TaskState{Events: []*api.TaskEvent{{Type: api.TaskStarted}}}, 0},
		{&api.TaskState{Events: []*api.TaskEvent{killing("5m10s"), {Type: api.TaskStarted}, killing("30s")}}, 30 * time.Second},
		{&api.TaskState{Events: []*api.TaskEvent{killing("")}}, 0},
	} {
		if got := killAfter(tt.state); got != tt.want {
			t.Errorf("%+v: %v, want %v", tt.state, got, tt.want)
		}
	}
}

func TestNameIndex(t *testing.T) {
	for name, want := range map[string]int{"hello-00001.instance[12]": 12, "hello-00001.instance[0]": 0, "": 0, "x[y]": 0} {
		if got := nameIndex(name); got != want {
			t.Errorf("%q: %d, want %d", name, got, want)
		}
	}
}
