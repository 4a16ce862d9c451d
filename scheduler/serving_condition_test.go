package scheduler_test

import (
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

func TestNotServed(t *testing.T) {
	ready, startFailed := wadi.RevisionState{Phase: wadi.Ready}, wadi.RevisionState{Phase: wadi.Ready, StartFailure: "exit 4"}
	serves, up := scheduler.Instances{Ready: 1, Alive: 1}, scheduler.JobState{Exists: true, Count: 1}
	for _, tt := range []struct {
		name   string
		one    wadi.RevisionState
		of     scheduler.Instances
		job    scheduler.JobState
		reason string
		text   string
	}{
		{"at zero", ready, scheduler.Instances{}, scheduler.JobState{Exists: true}, "", ""},
		{"serving", ready, serves, up, "", ""},
		{"starting from zero", ready, scheduler.Instances{Alive: 1}, up, "", ""},
		{"runs, and does not listen", ready, scheduler.Instances{Alive: 1, UnreadyReason: "nothing listens on 127.0.0.1:8080"}, up, "Starting", "callers wait until hello-00001 is ready: nothing listens on 127.0.0.1:8080"},
		{"one does not listen, another serves", ready, scheduler.Instances{Alive: 2, Ready: 1, UnreadyReason: "nothing listens on 127.0.0.1:8080"}, up, "", ""},
		{"blocked for a moment", ready, scheduler.Instances{Alive: 1, Diagnosis: "exit 4"}, up, "", ""},
		{"failing", startFailed, scheduler.Instances{Alive: 1, Diagnosis: "exit 5"}, up, "Blocked", "none of its instances is ready: exit 5"},
		{"failed, and nothing is said now", startFailed, scheduler.Instances{Alive: 1}, up, "Blocked", "since its last start failed: exit 4"},
		{"failed, and at zero", startFailed, scheduler.Instances{}, scheduler.JobState{Exists: true}, "Blocked", "its last start failed: exit 4"},
		{"failed, and at zero for a while", startFailed, scheduler.Instances{PullPause: scheduler.PullPause{Kind: wadi.PullAway}}, scheduler.JobState{Exists: true}, "Blocked", "callers get 503 until it is tried again"},
		{"failed, and ready by now", startFailed, serves, up, "", ""},
		{"never ready", wadi.RevisionState{Phase: wadi.Pending}, scheduler.Instances{Alive: 1}, up, "Starting", "callers wait until hello-00001 is ready"},
		{"never ready, and blocked", wadi.RevisionState{Phase: wadi.Pending}, scheduler.Instances{Diagnosis: "no node fits"}, up, "Blocked", "no node fits"},
		{"failed for good", wadi.RevisionState{Phase: wadi.Failed, Reason: "exit 1"}, scheduler.Instances{}, scheduler.JobState{}, "Failed", "get 503, it has failed: exit 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			route := wadi.Route{Targets: []wadi.RouteTarget{{Revision: r2, Weight: 9000}, {Revision: r1, Weight: 1000}}}
			reason, text := scheduler.Unavailable(route, map[string]wadi.RevisionState{r1: tt.one, r2: ready},
				map[string]scheduler.Instances{r1: tt.of, r2: serves}, map[string]scheduler.JobState{r1: tt.job, r2: up})
			if reason != tt.reason || !strings.Contains(text, tt.text) || (reason == "") != (text == "") {
				t.Errorf("got %q, %q; want %q, %q", reason, text, tt.reason, tt.text)
			}
		})
	}
	if reason, _ := scheduler.Unavailable(wadi.Route{}, nil, nil, nil); reason != "Starting" {
		t.Errorf("got %q without a route, want Starting", reason)
	}
}

// A failed start is recorded once, until another start succeeds.
func TestPlan_RemembersAStartThatFailed(t *testing.T) {
	w := newWorld(1)
	w.ready(r1, 1)
	w.settle(t)
	notes := func() (n int) {
		for _, l := range w.log {
			if strings.HasPrefix(l, "note-start") {
				n++
			}
		}
		return n
	}
	want := func(when string, startFailed string, n int) {
		t.Helper()
		w.settle(t)
		if got := w.d.State.Revisions[r1].StartFailure; got != startFailed || notes() != n {
			t.Fatalf("%s: got %q after %d notes, want %q after %d", when, got, notes(), startFailed, n)
		}
	}
	blocked := func(why string, unknown bool) scheduler.Instances {
		return scheduler.Instances{Alive: 1, Diagnosis: why, Since: w.o.Now, Unknown: unknown}
	}
	want("serving", "", 0)
	w.o.Instances[r1] = blocked("exit 4", true)
	w.o.Now = w.o.Now.Add(time.Minute)
	want("not asked yet", "", 0)
	w.o.Instances[r1] = blocked("exit 4", false)
	want("for a moment", "", 0)
	w.o.Now = w.o.Now.Add(3 * time.Second)
	want("for longer", "exit 4", 1)
	w.o.Instances[r1] = blocked("exit 5", false)
	w.o.Now = w.o.Now.Add(time.Minute)
	want("in other words", "exit 4", 1)
	w.o.Instances[r1] = scheduler.Instances{}
	want("at zero", "exit 4", 1)
	w.ready(r1, 1)
	want("ready again", "", 2)
}

// A ready revision has not failed, and without data a start is not known to have failed.
func TestPlan_ReadyBeatsFailed(t *testing.T) {
	w := newWorld(1)
	w.settle(t)
	w.o.Now = w.o.Now.Add(time.Hour)
	w.o.Instances[r1] = scheduler.Instances{Alive: 1, Unknown: true}
	if w.settle(t); w.d.State.Revisions[r1].Phase != wadi.Pending {
		t.Fatalf("state %+v of what nobody has asked, want pending", w.d.State.Revisions[r1])
	}
	w.o.Began = map[string]time.Time{r1: w.o.Now.Add(-59 * time.Second)}
	w.o.Instances[r1] = scheduler.Instances{Alive: 1}
	if w.settle(t); w.d.State.Revisions[r1].Phase != wadi.Pending {
		t.Fatalf("state %+v of what was seen for 59 s, want pending", w.d.State.Revisions[r1])
	}
	w.o.Now = w.o.Now.Add(time.Second)
	if w.settle(t); w.d.State.Revisions[r1].Phase != wadi.Failed {
		t.Fatalf("state %+v, want failed", w.d.State.Revisions[r1])
	}
	w.ready(r1, 1)
	if w.settle(t); w.d.State.Revisions[r1].Phase != wadi.Ready {
		t.Fatalf("state %+v of what is ready, want ready", w.d.State.Revisions[r1])
	}
}
