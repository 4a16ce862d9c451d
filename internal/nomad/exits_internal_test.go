package nomad

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
)

// Unrequested exits and requested restarts are distinguished by the events that Nomad
// keeps of a task.
func TestExits(t *testing.T) {
	ev := func(kind string, details ...string) *api.TaskEvent {
		e := &api.TaskEvent{Type: kind, Details: map[string]string{}}
		for i := 0; i < len(details); i += 2 {
			e.Details[details[i]] = details[i+1]
		}
		return e
	}
	started, restarting := ev("Started"), ev("Restarting")
	ends := func(code, signal, oom string) *api.TaskEvent {
		return ev("Terminated", "exit_code", code, "signal", signal, "oom_killed", oom)
	}
	for _, tt := range []struct {
		name   string
		events []*api.TaskEvent
		want   []wadi.Exit
	}{
		{"runs", []*api.TaskEvent{ev("Received"), ev("Task Setup"), started}, nil},
		{"killed for want of memory", []*api.TaskEvent{started, ends("137", "0", "true"), restarting, started}, []wadi.Exit{{Code: 137, OOM: true, At: 2}}},
		{"killed", []*api.TaskEvent{started, ends("137", "9", "false"), restarting}, []wadi.Exit{{Code: 137, Signal: 9, At: 2}}},
		{"by an old client's words", []*api.TaskEvent{started, {Type: "Terminated", ExitCode: 4, Signal: 6}, restarting}, []wadi.Exit{{Code: 4, Signal: 6, At: 2}}},
		{"each time", []*api.TaskEvent{ends("1", "0", "false"), restarting, started, ends("1", "0", "false"), restarting, started},
			[]wadi.Exit{{Code: 1, At: 1}, {Code: 1, At: 4}}},
		{"for the last time", []*api.TaskEvent{started, ends("1", "0", "false"), ev("Not Restarting")}, []wadi.Exit{{Code: 1, At: 2}}},
		{"done", []*api.TaskEvent{started, ends("0", "0", "false")}, nil},
		{"done, and restarted", []*api.TaskEvent{started, ends("0", "0", "false"), restarting, started}, []wadi.Exit{{At: 2}}},
		{"done, and another end", []*api.TaskEvent{started, ends("0", "0", "false"), started, ends("1", "0", "false"), restarting}, []wadi.Exit{{Code: 1, At: 4}}},
		{"told to end", []*api.TaskEvent{started, ev("Killing"), ends("143", "15", "false"), ev("Killed")}, nil},
		{"another one failed", []*api.TaskEvent{started, ev("Sibling Task Failed"), ev("Killing"), ends("137", "9", "false")}, nil},
		{"restart requested", []*api.TaskEvent{started, ev("Restart Signaled", "restart_reason", "User requested\x1b[2J task\nto restart"), ev("Killing"), ends("143", "15", "false"), restarting, started, ends("2", "0", "false"), restarting},
			[]wadi.Exit{{Restart: "User requested[2J task to restart", At: 2}, {Code: 2, At: 7}}},
		{"nothing is said", []*api.TaskEvent{{Type: "Terminated"}, restarting}, []wadi.Exit{{At: 1}}},
	} {
		for i, e := range tt.events {
			c := *e
			c.Time = int64(i + 1)
			tt.events[i] = &c
		}
		for i := range tt.want {
			tt.want[i].Instance, tt.want[i].Task = "a", "web"
		}
		got := exits(allocation{ID: "a", TaskStates: map[string]*api.TaskState{"web": {Events: tt.events}, "db": nil}})
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", tt.name, diff)
		}
	}
}
