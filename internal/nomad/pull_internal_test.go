package nomad

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/nomad/api"
	"github.com/wadi-run/wadi"
)

// at makes an event that a node reported so many milliseconds after it got the instance.
func at(ms int64, kind, message string) *api.TaskEvent {
	return &api.TaskEvent{Type: kind, DisplayMessage: message, Time: 1_000_000_000_000_000 + ms*int64(time.Millisecond)}
}

const (
	noTag   = "Failed to pull `127.0.0.1:5055/app:nope`: Error response from daemon: manifest for 127.0.0.1:5055/app:nope not found: manifest unknown: Unknown manifest"
	tooMany = "Failed to pull `127.0.0.1:5055/app:1`: Error response from daemon: toomanyrequests: later"
)

// The sequences are those of Nomad 1.11.3 with Docker's engine.
func TestPulls(t *testing.T) {
	received, setup := at(0, "Received", "Task received by client"), at(7, "Task Setup", "Building Task Directory")
	pull, started := at(188, "Driver", "Downloading image"), at(770, "Started", "Task started by client")
	for _, tt := range []struct {
		name    string
		tasks   map[string][]*api.TaskEvent
		want    wadi.PullTime
		failure wadi.PullFailure
	}{
		{"image there", map[string][]*api.TaskEvent{"web": {received, setup, started}}, wadi.PullTime{}, ""},
		{"pulls", map[string][]*api.TaskEvent{"web": {received, setup, pull}}, wadi.PullTime{After: 188 * time.Millisecond, Ongoing: true}, ""},
		{"pulls for long", map[string][]*api.TaskEvent{"web": {received, setup, pull, at(120_000, "Driver", "Docker image pull progress: Pulled 1/3")}},
			wadi.PullTime{After: 188 * time.Millisecond, Ongoing: true}, ""},
		{"podman pulls", map[string][]*api.TaskEvent{"web": {received, at(188, "Driver", "Pulling image docker.io/x/y:1")}}, wadi.PullTime{After: 188 * time.Millisecond, Ongoing: true}, ""},
		{"pulled", map[string][]*api.TaskEvent{"web": {received, setup, pull, started}}, wadi.PullTime{After: 188 * time.Millisecond, Took: 582 * time.Millisecond}, ""},
		{"two tasks", map[string][]*api.TaskEvent{"web": {received, pull, at(4000, "Started", "")}, "queue-proxy": {received, at(250, "Driver", "Downloading image"), at(900, "Started", "")}},
			wadi.PullTime{After: 188 * time.Millisecond, Took: 3812 * time.Millisecond}, ""},
		{"one of two still pulls", map[string][]*api.TaskEvent{"web": {received, pull}, "queue-proxy": {received, at(90, "Started", "")}}, wadi.PullTime{After: 188 * time.Millisecond, Ongoing: true}, ""},
		{"fails", map[string][]*api.TaskEvent{"web": {received, pull, at(200, "Driver Failure", noTag), at(201, "Restarting", "Task restarting in 1.2s")}},
			wadi.PullTime{After: 188 * time.Millisecond, Took: 12 * time.Millisecond}, wadi.PullNoTag},
		{"is stopped after that", map[string][]*api.TaskEvent{"web": {received, pull, at(200, "Driver Failure", noTag), at(201, "Restarting", ""), at(500, "Killing", ""), at(501, "Killed", "")}},
			wadi.PullTime{After: 188 * time.Millisecond, Took: 12 * time.Millisecond}, wadi.PullNoTag},
		{"succeeds at last", map[string][]*api.TaskEvent{"web": {received, pull, at(200, "Driver Failure", tooMany), at(201, "Restarting", ""), at(1400, "Driver", "Downloading image"), at(2000, "Started", "")}},
			wadi.PullTime{After: 188 * time.Millisecond, Took: 1812 * time.Millisecond}, ""},
		{"fails for another reason", map[string][]*api.TaskEvent{"web": {received, pull, at(200, "Driver Failure", tooMany), at(1400, "Driver Failure", "failed to create container: no such mount")}},
			wadi.PullTime{After: 188 * time.Millisecond, Took: 12 * time.Millisecond}, ""},
		{"the node's clock jumps back", map[string][]*api.TaskEvent{"web": {received, at(-5000, "Driver", "Downloading image"), at(-6000, "Started", "")}}, wadi.PullTime{}, ""},
		{"nothing yet", map[string][]*api.TaskEvent{"web": {}}, wadi.PullTime{}, ""},
	} {
		states := map[string]*api.TaskState{"gone": nil}
		for name, events := range tt.tasks {
			states[name] = &api.TaskState{Events: events}
		}
		got := pullsOf(states)
		if diff := cmp.Diff(tt.want, got.time()); diff != "" || got.failure != tt.failure {
			t.Errorf("%s: failure %q, want %q; times (-want +got):\n%s", tt.name, string(got.failure), string(tt.failure), diff)
		}
	}
}

// Nomad keeps ten events of a task. What an instance's first events said is not forgotten
// with them; nor when everything is read anew.
func TestPulls_Remembers(t *testing.T) {
	s := newState()
	job := Job{Namespace: "default", ID: "hello-00001", Count: 1, JobModifyIndex: 5, CreateIndex: 5}
	alloc := func(index uint64, status string, events ...*api.TaskEvent) allocation {
		return allocation{ID: "a", JobID: job.ID, Namespace: "default", ClientStatus: status, DesiredStatus: "run", CreateIndex: 6, ModifyIndex: index,
			TaskStates: map[string]*api.TaskState{"web": {State: "pending", Events: events}}}
	}
	see := func() wadi.Endpoint {
		t.Helper()
		i, ok := s.revisions[keyOf("default", job.ID)].instances["a"]
		if !ok {
			t.Fatal("the instance is forgotten")
		}
		return i.endpoint
	}
	s.job(job)
	s.allocation(alloc(6, "pending", at(0, "Received", ""), at(100, "Driver", "Downloading image"), at(200, "Driver Failure", tooMany)))
	first := see()
	if first.PullFailedAt == 0 || first.PullFailure != wadi.PullTooMany {
		t.Fatalf("got %+v, want the failure and when it was seen", first)
	}
	s.allocation(alloc(7, "pending", at(200, "Driver Failure", tooMany), at(1400, "Driver", "Downloading image")))
	if got := see(); got.PullFailedAt != first.PullFailedAt || got.Pull != (wadi.PullTime{After: 100 * time.Millisecond, Ongoing: true}) {
		t.Errorf("got %+v, want the same failure, and the pull since the first try", got)
	}
	all := func(string) bool { return true }
	s.replace("*", all, snapshot{jobs: []Job{job}, allocs: []allocation{alloc(7, "pending", at(200, "Driver Failure", tooMany), at(1400, "Driver", "Downloading image"))}})
	if got := see(); got.PullFailedAt != first.PullFailedAt || got.Pull.After != 100*time.Millisecond {
		t.Errorf("after a full read: got %+v, want the same", got)
	}
	s.allocation(alloc(8, "complete", at(1400, "Driver", "Downloading image"), at(1500, "Driver Failure", noTag), at(1600, "Killing", "")))
	second := see()
	if second.PullFailedAt <= first.PullFailedAt || !second.Hopeless {
		t.Errorf("after the next try: got %+v, want a later failure, and that it is hopeless", second)
	}
	s.replace("*", all, snapshot{jobs: []Job{job}}) // Completed instances are not listed.
	if got := see(); got != second {
		t.Errorf("after a full read: got %+v, want %+v", got, second)
	}
	job.CreateIndex, job.JobModifyIndex = 20, 20 // Another job of that name.
	s.replace("*", all, snapshot{jobs: []Job{job}})
	if n := len(s.revisions[keyOf("default", job.ID)].instances); n != 0 {
		t.Errorf("another job has %d instances of the one before", n)
	}
}

// An agent that starts does not take the failure of an instance that ended hours ago for one
// of now: nothing would be started for a time. One that goes on is tried again right now.
func TestPulls_FailedBeforeTheAgentStarted(t *testing.T) {
	hoursAgo := time.Now().Add(-3 * time.Hour).UnixNano()
	for status, old := range map[string]bool{"failed": true, "pending": false} {
		s := newState()
		job := Job{Namespace: "default", ID: "hello-00001", Count: 1, JobModifyIndex: 5, CreateIndex: 5}
		s.replace("*", func(string) bool { return true }, snapshot{jobs: []Job{job}, allocs: []allocation{{
			ID: "a", JobID: job.ID, Namespace: "default", ClientStatus: status, DesiredStatus: "run", CreateIndex: 6, ModifyIndex: 6, ModifyTime: hoursAgo,
			TaskStates: map[string]*api.TaskState{"web": {State: "dead", Events: []*api.TaskEvent{at(200, "Driver Failure", tooMany)}}},
		}}})
		got := s.revisions[keyOf("default", job.ID)].instances["a"].endpoint.PullFailedAt
		if (got == hoursAgo) != old || got == 0 {
			t.Errorf("%s: its pull failed at %v", status, time.Unix(0, got))
		}
	}
}

// What Nomad calls unrecoverable is not what asking again can't mend.
func TestEndpoint_HopelessPulls(t *testing.T) {
	for _, tt := range []struct {
		name, message string
		unrecoverable bool
		want          bool
	}{
		{"no such tag", noTag, false, true},
		{"too many requests", tooMany, false, false},
		{"the engine is away", "failed to fetch docker daemon info: Cannot connect to the Docker daemon at unix:///run/docker.sock. Is the docker daemon running?", true, false},
		{"no image's name", "unable to create local docker image \"X\": does not match registry specification", true, true},
	} {
		end := at(202, "Not Restarting", "Exceeded allowed attempts 3 in interval 1m0s and mode is \"fail\"")
		if tt.unrecoverable {
			end.Details = map[string]string{"restart_reason": unrecoverable}
		}
		a := allocation{ClientStatus: "failed", DesiredStatus: "run", TaskStates: map[string]*api.TaskState{
			"web": {State: "dead", Failed: true, Events: []*api.TaskEvent{at(0, "Received", ""), at(200, "Driver Failure", tt.message), end}},
		}}
		if got := endpoint(a); got.Hopeless != tt.want {
			t.Errorf("%s: hopeless is %t, want %t", tt.name, got.Hopeless, tt.want)
		}
		a.ClientStatus = "pending"
		if got := endpoint(a); got.Hopeless {
			t.Errorf("%s: hopeless before it has ended", tt.name)
		}
	}
}

// A failed pull is said in words, with what to do, and does not change from try to try.
func TestTaskProblem_Pulls(t *testing.T) {
	events := []*api.TaskEvent{at(0, "Received", ""), at(100, "Driver", "Downloading image"), at(200, "Driver Failure", noTag), at(201, "Restarting", "Task restarting in 1.2s")}
	want := "task web: no such tag or digest: push it, or correct the task's image (Failed to pull `127.0.0.1:5055/app:nope`: manifest for 127.0.0.1:5055/app:nope not found: manifest unknown: Unknown manifest)"
	for range 3 {
		if got := taskProblem(map[string]*api.TaskState{"web": {State: "pending", Events: events}}); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		events = append(events, at(1400, "Not Restarting", "Exceeded allowed attempts 3 in interval 1m0s and mode is \"fail\""))
	}
}

// A new instance that pulls says that the failure before it may be over.
func TestDiagnose_PullsAgain(t *testing.T) {
	r := revision{job: JobState{Count: 1}, instances: map[string]instance{
		"old": {endpoint: wadi.Endpoint{Instance: "old", Created: 1, Ended: true, Problem: "no such tag", PullFailure: wadi.PullNoTag}},
	}}
	now := time.Unix(1000, 0)
	told := func(want string) {
		t.Helper()
		r.updateDiagnosis(now)
		if got := r.diagnosis.visibleAt(now); got.Reason != want || (got.Pull == "") != (want == "") {
			t.Errorf("got %+v, want %q", got, want)
		}
	}
	told("no such tag")
	r.instances["new"] = instance{endpoint: wadi.Endpoint{Instance: "new", Created: 2}}
	told("no such tag") // It says nothing yet.
	r.instances["new"] = instance{endpoint: wadi.Endpoint{Instance: "new", Created: 2, Pull: wadi.PullTime{Ongoing: true}}}
	told("")
	r.instances["new"] = instance{endpoint: wadi.Endpoint{Instance: "new", Created: 2, Problem: "too many requests", PullFailure: wadi.PullTooMany}}
	told("too many requests")
}
