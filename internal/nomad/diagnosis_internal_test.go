package nomad

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
	"github.com/wadi-run/wadi"
)

func TestDiagnosis_Lingers(t *testing.T) {
	began := time.Unix(1000, 0)
	r := revision{job: JobState{Count: 1}}
	ill := func() { r.instances = map[string]instance{"a": {endpoint: wadi.Endpoint{Problem: "Exit Code: 1"}}} }
	well := func() { r.instances = map[string]instance{"a": {healthy: true}} }
	blocks := func() { r.blocked.reason = "no node fits" }
	fits := func() { r.blocked.reason = "" }
	told := func(after time.Duration, wantReason string, wantSince time.Duration) {
		t.Helper()
		r.updateDiagnosis(began.Add(after))
		d := r.diagnosis.visibleAt(began.Add(after))
		reason, since := d.Reason, d.Since
		want := began.Add(wantSince)
		if wantReason == "" {
			want = time.Time{}
		}
		if reason != wantReason || !since.Equal(want) {
			t.Errorf("after %v: got %q since %v, want %q since %v", after, reason, since.Sub(began), wantReason, wantSince)
		}
	}
	ill()
	told(0, "Exit Code: 1", 0)
	well()
	told(2*time.Second, "Exit Code: 1", 0) // It runs, and may exit again.
	told(8*time.Second, "", 0)
	ill()
	told(20*time.Second, "Exit Code: 1", 0) // It has exited again.
	well()
	told(21*time.Second, "Exit Code: 1", 0)
	ill()
	told(60*time.Second, "Exit Code: 1", 60*time.Second) // The last one is too long ago: a new diagnosis begins.
	blocks()
	told(61*time.Second, "no node fits", 61*time.Second)
	fits()
	well()
	told(62*time.Second, "", 0)
}

// An event that keeps a task from running is reported, whether its type is known or not.
// Past problems and intended ends are not.
func TestTaskProblem(t *testing.T) {
	ev := func(kind, message string) *api.TaskEvent { return &api.TaskEvent{Type: kind, DisplayMessage: message} }
	exit := func(code string) *api.TaskEvent {
		return &api.TaskEvent{Type: "Terminated", DisplayMessage: "Exit Code: " + code, Details: map[string]string{"exit_code": code}}
	}
	oom := func(code string) *api.TaskEvent {
		e := exit(code)
		e.Details["oom_killed"] = "true"
		return e
	}
	fails := ev("Killing", "Template failed: no such key")
	fails.Details = map[string]string{"fails_task": "true"}
	missing := ev("Template", "Missing: nomad.var.block(nomad/jobs/a@default.global)")
	received, setup, started := ev("Received", "Task received by client"), ev("Task Setup", "Building Task Directory"), ev("Started", "Task started by client")
	for _, tt := range []struct {
		name, state string
		events      []*api.TaskEvent
		want        string
	}{
		{"starts", "pending", []*api.TaskEvent{received, setup, ev("Driver", "Downloading image")}, ""},
		{"runs", "running", []*api.TaskEvent{received, setup, started}, ""},
		{"exits", "pending", []*api.TaskEvent{received, setup, started, exit("4"), ev("Restarting", "Task restarting in 1s")}, "task web: Exit Code: 4"},
		{"wants memory", "pending", []*api.TaskEvent{started, oom("137")}, "task web: killed for want of memory (Exit Code: 137)"},
		{"a child wanted memory", "pending", []*api.TaskEvent{started, oom("3")}, "task web: a process of it was killed for want of memory, then it ended (Exit Code: 3)"},
		{"told to end", "dead", []*api.TaskEvent{started, ev("Killing", "Sent interrupt"), exit("143"), ev("Killed", "Task successfully killed")}, ""},
		{"told to end, in its own time", "dead", []*api.TaskEvent{started, ev("Waiting for shutdown delay", "Waiting for shutdown_delay of 2s before killing the task."),
			ev("Killing", "Sent interrupt"), ev("Quantum Flux", "ebbs away"), exit("143"), ev("Killed", "Task successfully killed")}, ""},
		{"told to end at once", "dead", []*api.TaskEvent{started, ev("Skipping shutdown delay", "Skipping shutdown_delay of 2s before killing the task."), ev("Killing", "Sent interrupt"), exit("143")}, ""},
		{"waits", "pending", []*api.TaskEvent{received, setup, missing}, "task web: waits for nomad.var.block(nomad/jobs/a@default.global)"},
		{"waited", "running", []*api.TaskEvent{received, setup, missing, started}, ""},
		{"waited, and exits", "pending", []*api.TaskEvent{missing, started, exit("1"), missing}, "task web: waits for nomad.var.block(nomad/jobs/a@default.global)"},
		{"exited, then waited", "running", []*api.TaskEvent{started, exit("1"), started}, "task web: Exit Code: 1"},
		{"a template failed", "dead", []*api.TaskEvent{received, setup, fails, exit("0")}, "task web: Template failed: no such key"},
		{"unknown", "pending", []*api.TaskEvent{received, ev("Quantum Flux", "misaligned")}, "task web: Quantum Flux: misaligned"},
		{"unknown, without a word", "dead", []*api.TaskEvent{received, {Type: "Quantum Flux"}}, "task web: Quantum Flux: Quantum Flux"},
		{"unknown, of one that runs", "running", []*api.TaskEvent{started, ev("Quantum Flux", "misaligned")}, ""},
		{"a hook", "pending", []*api.TaskEvent{received, ev("Task hook failed", "consul: denied")}, "task web: consul: denied"},
		{"an artifact's URL", "dead", []*api.TaskEvent{ev("Failed Artifact Download", `failed to download artifact "https://me:gone@example.com/x": refused`)},
			`task web: failed to download artifact "https://me:(hidden-by-wadi)@example.com/x": refused`},
		{"steers terminals", "dead", []*api.TaskEvent{ev("Driver Failure", "\x1b[2Jno\r\nimage"+strings.Repeat("x", 1000))},
			"task web: [2Jno image" + strings.Repeat("x", 400-22) + "…"},
	} {
		for i, e := range tt.events {
			c := *e
			c.Time = int64(i + 1)
			tt.events[i] = &c
		}
		if got := taskProblem(map[string]*api.TaskState{"web": {State: tt.state, Events: tt.events}}); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
