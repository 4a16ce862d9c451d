package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

func TestApply_WaitsOutAnAgentThatIsAway(t *testing.T) {
	b := newBench(t)
	b.then(nothing, func() { b.store.Fail(wadi.ErrUnavailable) }, nothing,
		func() { b.store.Fail(nil); b.store.SetStatus(ready()) })
	b.wadi(t, "apply", file(t, hello)).want(t, 0, `hello: pending, waiting for the leader to start on it
hello: pending, the agent doesn't answer; trying again
hello: ready, hello-00001, http://hello.wadi.localhost:8080 (TIME)
`, "")
}

func TestAwayClock(t *testing.T) {
	t0 := time.Unix(1700000000, 0)
	var a outage
	for _, tt := range []struct {
		name  string
		err   error
		after time.Duration
		want  bool
	}{
		{"answers", nil, 0, false},
		{"away", wadi.ErrUnavailable, time.Second, true},
		{"still away", wadi.ErrUnavailable, 30 * time.Second, true},
		{"for too long", wadi.ErrUnavailable, 32 * time.Second, false},
		{"back", nil, 33 * time.Second, false},
		{"away again", wadi.ErrUnavailable, 34 * time.Second, true},
		{"something else", errors.New("403"), 35 * time.Second, false},
	} {
		if got := a.tolerates(tt.err, t0.Add(tt.after)); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestJudge(t *testing.T) {
	made := api.SubmittedService{Name: "hello", Revision: "hello-00002", Generation: 2, NewRevision: true, Changed: true}
	inPlace := made
	inPlace.NewRevision = false
	again := inPlace
	again.Revision, again.Retried = "hello-00003", []string{"hello-00002"}
	status := func(generation uint64, phase string, revs ...wadi.RevisionStatus) api.Service {
		return api.Service{Generation: 2, Status: wadi.Status{Generation: generation, Phase: phase, URL: "url", Revisions: revs}}
	}
	rev := func(p wadi.Phase, reason string) wadi.RevisionStatus {
		return wadi.RevisionStatus{ID: "hello-00002", Phase: p, Reason: reason}
	}
	later := status(3, "ready")
	later.Generation = 3
	deleting := status(2, "ready")
	deleting.Deleting = true
	blocked := status(2, "pending", rev(wadi.Pending, ""))
	blocked.Status.Conditions = []wadi.Condition{{OK: true, Message: "fine"}, {Message: "no node fits"}}
	conflict := status(2, "ready", rev(wadi.Ready, ""))
	conflict.Status.Conditions = []wadi.Condition{{Type: "NetworkProgrammed", Reason: "Conflict", Message: "somebody else's"}}
	pinned := status(2, "ready", rev(wadi.Ready, ""), wadi.RevisionStatus{ID: "hello-00001", Phase: wadi.Pending})
	pinned.Service.Traffic = []wadi.TrafficTarget{{Revision: "hello-00001", Percent: 100}}
	pinned.Status.Conditions = []wadi.Condition{{Type: "Routed", Reason: "Held", Message: "the traffic stays as it was"}}
	pinnedForGood := pinned
	pinnedForGood.Status.Revisions = []wadi.RevisionStatus{rev(wadi.Ready, ""), {ID: "hello-00001", Phase: wadi.Failed}}
	withEvents := status(2, "pending", rev(wadi.Pending, ""))
	withEvents.Status.Events = []wadi.Event{{Revision: "hello-00002", Message: "placed"}, {Revision: "hello-00001", Message: "other"}}
	for _, tt := range []struct {
		name string
		s    api.SubmittedService
		v    api.Service
		want verdict
	}{
		{"old status", made, status(1, "ready", rev(wadi.Ready, "")), verdict{phase: "pending", text: "waiting for the leader to start on it"}},
		{"ready", made, status(2, "ready", rev(wadi.Ready, "")), verdict{done: true, phase: "ready", text: "url"}},
		{"service ready by the old revision", made, status(2, "ready", rev(wadi.Pending, "starting")), verdict{phase: "pending", text: "hello-00002: starting"}},
		{"new revision not listed yet", made, status(2, "ready"), verdict{phase: "pending", text: "waiting for hello-00002"}},
		{"revision ready, routes not", made, status(2, "pending", rev(wadi.Ready, "")), verdict{phase: "pending", text: "waiting for hello-00002"}},
		{"in place", inPlace, status(2, "ready", rev(wadi.Pending, "")), verdict{done: true, phase: "ready", text: "url"}},
		{"revision failed, service serves on", made, status(2, "ready", rev(wadi.Failed, "exit 1")), verdict{done: true, failed: true, phase: "failed", text: "hello-00002: exit 1"}},
		{"service failed", inPlace, status(2, "failed"), verdict{done: true, failed: true, phase: "failed", text: "waiting for hello-00002"}},
		{"in the way of others", made, conflict, verdict{done: true, phase: "ready", text: "url", warning: "somebody else's"}},
		{"traffic waits", inPlace, pinned, verdict{phase: "pending", text: "the traffic stays as it was"}},
		{"traffic waits for ever", inPlace, pinnedForGood, verdict{done: true, failed: true, phase: "failed", text: "the traffic stays as it was"}},
		{"condition", made, blocked, verdict{phase: "pending", text: "no node fits"}},
		{"event", made, withEvents, verdict{phase: "pending", text: "placed"}},
		{"tried again", again, status(2, "ready", rev(wadi.Pending, "exit 1")), verdict{phase: "pending", text: "hello-00002: exit 1"}},
		{"tried again and failed", again, status(2, "ready", rev(wadi.Failed, "exit 1")), verdict{done: true, failed: true, phase: "failed", text: "hello-00002: exit 1"}},
		{"tried again and ready", again, status(2, "ready", rev(wadi.Ready, "")), verdict{done: true, phase: "ready", text: "url"}},
		{"deleted", made, deleting, verdict{done: true, failed: true, phase: "deleting", text: "it was deleted meanwhile"}},
		{"again", made, later, verdict{done: true, failed: true, phase: "pending",
			text: "another submission has replaced it (generation 3); see wadi service status hello"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, verdictOf(tt.s, tt.v), cmp.AllowUnexported(verdict{})); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

// A terminal gets one line that changes, and a line for each result.
func TestProgress_OnATerminal(t *testing.T) {
	var out bytes.Buffer
	c := &call{stdio: stdio{stdout: &out, stderr: &out}}
	p := &progress{c: c, out: &out, width: 30}
	f := &awaited{SubmittedService: api.SubmittedService{Name: "hello", Revision: "hello-00001"},
		verdict: verdict{phase: "pending", text: "a text that is much longer than the terminal is wide"}}
	show := func(took time.Duration) {
		p.update(f, at(0), took)
		p.line([]*awaited{f}, at(0), took)
	}
	show(100 * time.Millisecond)
	show(300 * time.Millisecond)
	f.verdict = verdict{done: true, phase: "ready", text: "http://x"}
	show(500 * time.Millisecond)
	p.end()
	want := " 0.1s  hello: a text that is m" + "\r\x1b[K" + " 0.3s  hello: a text that is m" + "\r\x1b[K" +
		"hello: ready, hello-00001, http://x (0.5s)\n"
	if diff := cmp.Diff(strings.ReplaceAll(want, "a text that is m", "a text that is "), out.String()); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
}

// Elsewhere each new fact gets one line, with the remaining time, and a repeated
// fact, also with other numbers, is counted.
func TestProgress_OneLineForEachFact(t *testing.T) {
	var out bytes.Buffer
	c := &call{stdio: stdio{stdout: &out, stderr: &out}}
	p := newProgress(c)
	f := &awaited{SubmittedService: api.SubmittedService{Name: "hello", Revision: "hello-00001"}}
	for i := range 50 {
		f.verdict = verdict{phase: "pending", text: fmt.Sprintf("can't listen on port %d", 20000+i), until: at(600)}
		p.update(f, at(i), 0)
		f.verdict = verdict{phase: "pending", text: "Exit Code: 1", until: at(600)}
		p.update(f, at(i), 0)
		p.update(f, at(i), 0) // Unchanged.
	}
	f.verdict = verdict{done: true, failed: true, phase: "failed", text: "Exit Code: 1"}
	p.update(f, at(600), 0)
	want := `hello: pending, can't listen on port 20000 (fails in 10m0s unless it is ready)
hello: pending, Exit Code: 1 (fails in 10m0s unless it is ready)
hello: pending, and 98 times more what was said before
hello: failed, Exit Code: 1
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}

	// On a terminal the count and the time stand before the text, which may be cut.
	out.Reset()
	p = &progress{c: c, out: &out, width: 60}
	for i := range 3 {
		f.verdict = verdict{phase: "pending", text: fmt.Sprintf("can't listen on port %d", 20000+i), until: at(600)}
		p.update(f, at(0), 0)
	}
	p.line([]*awaited{f}, at(60), time.Second)
	if want := " 1.0s  hello: (3 times, 9m0s left) can't listen on port 200"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}
