package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/api"
)

// onPort is hello with another port, which makes a revision.
func onPort(port int) string {
	return strings.Replace(hello, "instance {", fmt.Sprintf("port = %d\n  instance {", port), 1)
}

// two is a bench where hello has two ready revisions, and the second has the traffic.
func two(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	for _, source := range []string{hello, onPort(9001)} {
		if o := b.wadi(t, "apply", "-detach", file(t, source)); o.code != 0 {
			t.Fatalf("got %+v", o)
		}
	}
	b.store.SetState("hello", wadi.State{Revisions: map[string]wadi.RevisionState{
		"hello-00001": {Phase: wadi.Retired, WasReady: true}, "hello-00002": {Phase: wadi.Ready}}})
	b.store.SetRoute(wadi.Route{Service: "hello", Targets: []wadi.RouteTarget{{Revision: "hello-00002", Weight: wadi.WeightAll}}})
	return b
}

// moved is a status at a generation, in which the first revision has some percent of what it
// wants, and the second has the rest.
func moved(generation uint64, has, wants float64) wadi.Status {
	st := wadi.Status{Service: "hello", Generation: generation, Phase: "ready", Traffic: []wadi.TargetStatus{
		{Revision: "hello-00001", Percent: has, Wanted: wants}, {Revision: "hello-00002", Percent: 100 - has, Wanted: 100 - wants}},
		Revisions: []wadi.RevisionStatus{
			{ID: "hello-00001", Phase: wadi.Ready, Percent: has, Wanted: wants, Created: admissiontest.Now},
			{ID: "hello-00002", Phase: wadi.Ready, Percent: 100 - has, Wanted: 100 - wants, Created: admissiontest.Now}},
		Conditions: []wadi.Condition{{Type: control.ConditionRouted, OK: true}, {Type: control.ConditionNetwork, OK: true}}}
	if has != wants {
		st.Conditions[0] = wadi.Condition{Type: control.ConditionRouted, Reason: control.ReasonHeld, Message: "hello-00001 has 0 of 2 instances"}
	}
	return st
}

func TestTraffic_WaitsUntilItIsServed(t *testing.T) {
	b := two(t)
	b.then(nothing, b.status(moved(3, 0, 10)), b.status(moved(3, 10, 10)))
	b.wadi(t, "traffic", "hello", "latest=90", "1=10@stable").want(t, 0, `hello: latest 90 %, hello-00001 10 % @stable (before: latest 100 %)
hello: pending, waiting for the leader to start on it
hello: pending, hello-00001 has 0 of 2 instances
hello: ready, 10 % hello-00001, 90 % hello-00002 (TIME)
`, "")
	o := b.wadi(t, "traffic", "-detach", "hello", "latest")
	o.want(t, 0, "hello: latest 100 % (before: latest 90 %, hello-00001 10 % @stable)\n", "The tag stable of hello-00001 is given up.\n")
	b.wadi(t, "traffic", "-detach", "hello", "latest=100%").want(t, 0, "hello: the traffic is set like this already: latest 100 %\n", "")
	b.wadi(t, "traffic", "-detach", "hello", "hello-00002=100").want(t, 0, "hello: hello-00002 100 % (before: latest 100 %)\n",
		"\"latest\" is pinned: a new revision gets no traffic until it is set again (wadi traffic hello latest=100).\n")
	b.store.SetStatus(moved(5, 10, 10))
	o = b.wadi(t, "traffic", "hello")
	o.golden(t, "traffic.txt")
	if o.code != 0 || o.stderr != "" {
		t.Errorf("got %+v", o)
	}
}

// What is wrong is said at the argument that was typed.
func TestTraffic_Refused(t *testing.T) {
	b := two(t)
	b.wadi(t, "traffic", "hello", "latest=90", "hello-00001=5@stable", "2=6").want(t, 1, "", "Error: bad input\nlatest=90: the percent of all traffic targets must sum to exactly 100, got 101\n")
	b.wadi(t, "traffic", "hello", "latest=90", "7=10@stable").want(t, 1, "", "Error: refused\n7=10@stable: there is no revision \"hello-00007\"; there are: latest, hello-00002, hello-00001\n")
	b.wadi(t, "traffic", "-check-index", "1", "hello", "latest").want(t, 1, "", "Error: check_index is 1, but the stored index is 2; read it again\n")
	b.wadi(t, "traffic", "nothing", "latest").want(t, 1, "", "Error: service nothing: not found\n")
	for _, args := range [][]string{
		{}, {"hello", "=90"}, {"hello", "latest=x", "1=10"}, {"hello", "latest=1e2"}, {"hello", "latest="}, {"hello", "latest=100@"},
		{"hello", "latest", "1=10"}, {"hello", "latest=NaN"}, {"hello", "latest=0x10"}, {"-check-index", "x", "hello", "latest"}, {"hello", "-detach"},
	} {
		if o := b.wadi(t, append([]string{"traffic"}, args...)...); o.code != 2 || o.stdout != "" || !strings.HasPrefix(o.stderr, "Error: ") && !strings.Contains(o.stderr, "no index") {
			t.Errorf("%v: got %+v", args, o)
		}
	}
	if s, _, _ := b.store.Spec(t.Context(), "hello"); s.Generation != 2 {
		t.Errorf("something was stored: %+v", s)
	}
}

func TestTraffic_Replaced(t *testing.T) {
	b := two(t)
	b.then(nothing, func() {
		client, _ := api.New(api.Config{Address: b.URL})
		if _, err := client.SetTraffic(t.Context(), "hello", api.Traffic{Targets: []api.Target{{Revision: "hello-00002"}}}); err != nil {
			t.Error(err)
		}
	})
	o := b.wadi(t, "traffic", "hello", "hello-00001")
	if o.code != 1 || !strings.Contains(o.stderr, "hello: pending, the traffic was set again meanwhile: hello-00002 100 %\n") {
		t.Errorf("got %+v", o)
	}
}

func TestTraffic_JSON(t *testing.T) {
	b := two(t)
	b.then(nothing, b.status(moved(3, 10, 10)))
	o := b.wadi(t, "traffic", "-json", "hello", "latest=90", "1=10")
	var got struct {
		Changed bool
		Phase   string
		Status  []wadi.TargetStatus
	}
	if err := json.Unmarshal([]byte(o.stdout), &got); err != nil || o.code != 0 || o.stderr != "" || !got.Changed || got.Phase != "ready" || len(got.Status) != 2 {
		t.Errorf("%v: got %+v", err, o)
	}
	o = b.wadi(t, "traffic", "-json", "hello")
	var view trafficView
	if err := json.Unmarshal([]byte(o.stdout), &view); err != nil || len(view.Targets) != 2 || view.Order.At == 0 || len(view.Status) != 2 {
		t.Errorf("%v: got %+v", err, o)
	}
	if o := b.wadi(t, "traffic", "-json", "hello", "latest=90"); o.code != 1 || o.stderr != "" || !json.Valid([]byte(o.stdout)) {
		t.Errorf("got %+v", o)
	}
}

func TestTraffic_CtrlC(t *testing.T) {
	b := two(t)
	ctx, stop := context.WithCancel(t.Context())
	b.then(nothing, stop)
	o := b.wadiIn(ctx, "", []string{"WADI_ADDR=" + b.URL}, "traffic", "hello", "hello-00001")
	if o.code != 1 || !strings.Contains(o.stderr, "The traffic stays set, and moves without this command; see wadi traffic hello\n") {
		t.Errorf("got %+v", o)
	}
}

func TestRollback_Command(t *testing.T) {
	b := two(t)
	b.then(nothing, b.status(moved(3, 0, 100)), b.status(moved(3, 100, 100)))
	pinned := "\"latest\" is pinned: a new revision gets no traffic until it is set again (wadi traffic hello latest=100).\n"
	b.wadi(t, "rollback", "hello").want(t, 0, `hello: goes back from hello-00002 to hello-00001
hello: pending, waiting for the leader to start on it
hello: pending, hello-00001 has 0 of 2 instances
hello: ready, 100 % hello-00001 (TIME)
`, pinned)
	b.wadi(t, "rollback", "hello").want(t, 0, "hello: hello-00001 has the traffic already\nhello: ready, 100 % hello-00001 (TIME)\n", pinned)
	b.wadi(t, "rollback", "-detach", "-to", "2", "hello").want(t, 0, "hello: goes back from hello-00002 to hello-00002\n", pinned)
	for _, args := range [][]string{{}, {"-to", "x=5", "hello"}, {"-to", "x@y", "hello"}, {"hello", "1"}} {
		if o := b.wadi(t, append([]string{"rollback"}, args...)...); o.code != 2 {
			t.Errorf("%v: got %+v", args, o)
		}
	}
	if o := b.wadi(t, "rollback", "-to", "9", "hello"); o.code != 1 || !strings.Contains(o.stderr, `no revision "hello-00009"`) {
		t.Errorf("got %+v", o)
	}
	// What is applied without traffic says that it gets none.
	o := b.wadi(t, "apply", "-detach", file(t, onPort(9002)))
	if o.code != 0 || !strings.Contains(o.stderr, "so hello-00003 gets no traffic; to give it some: wadi traffic hello latest=100\n") {
		t.Errorf("got %+v", o)
	}
}

// rolling is the status of a rollout at a generation.
func rolling(generation uint64, phase wadi.RolloutPhase, share float64, reason string) wadi.Status {
	wanted := 0.0
	if !phase.UnderWay() {
		wanted = 100
	}
	st := moved(generation, 100-share, wanted)
	st.Rollout = &wadi.RolloutStatus{Phase: phase, Revision: "hello-00002", From: "hello-00001", Percent: share, Step: 2, Steps: 5, Reason: reason, Since: time.Unix(admissiontest.Now, 0)}
	st.Conditions[0] = wadi.Condition{Type: control.ConditionRouted, OK: true}
	return st
}

func TestRollout_Commands(t *testing.T) {
	b := two(t)
	b.wadi(t, "rollout", "pause", "hello").want(t, 1, "", "Error: no rollout of hello is under way\n")
	b.wadi(t, "rollout", "status", "hello").want(t, 0, "Service   hello\nSetting   a new revision takes over at once, when it is ready\nRollout   none so far\n", "")
	b.store.SetStatus(rolling(2, wadi.RolloutJudging, 10, "12 requests; about 300 would be enough"))
	b.wadi(t, "rollout", "resume", "hello").want(t, 0, "hello: the rollout of hello-00002 is not paused\n", "")
	b.wadi(t, "rollout", "pause", "hello").want(t, 0, "hello: the rollout of hello-00002 is paused\n", "")
	b.wadi(t, "rollout", "status", "hello").golden(t, "rollout_status.txt")
	o := b.wadi(t, "rollout", "status", "-json", "hello")
	var view rolloutView
	if err := json.Unmarshal([]byte(o.stdout), &view); err != nil || view.Rollout == nil || view.Order.Action != wadi.RolloutPause {
		t.Errorf("%v: got %+v", err, o)
	}
	b.wadi(t, "rollout", "abort", "hello").want(t, 0, "hello: the rollout of hello-00002 is aborted\n", "")
	b.wadi(t, "rollout", "abort", "-check-index", "1", "hello").want(t, 1, "", "Error: check_index is 1, but the stored index is 4; read it again\n")
}

// Rollback aborts the rollout that is under way, and waits until that has happened.
func TestRollback_AbortsTheRollout(t *testing.T) {
	b := two(t)
	b.store.SetStatus(rolling(2, wadi.RolloutStepping, 10, ""))
	b.then(nothing, b.status(rolling(3, wadi.RolloutStepping, 10, "")), b.status(rolling(3, wadi.RolloutAborted, 0, "")))
	b.wadi(t, "rollback", "hello").want(t, 0, `hello: the rollout of hello-00002 is aborted, hello-00001 gets its share back
hello: pending, waiting for the leader to start on it
hello: pending, the rollout of hello-00002 is being aborted
hello: ready, 100 % hello-00001 (TIME)
`, "hello-00002 gets no share of \"latest\" until it is applied again.\n")
}

// Apply waits for the end of a rollout, and fails if that goes back.
func TestApply_WaitsForTheRollout(t *testing.T) {
	for _, tt := range []struct {
		name   string
		end    func() wadi.Status
		code   int
		output string
	}{
		{"done", func() wadi.Status { return moved(3, 0, 0) }, 0, "hello: ready, hello-00002 (TIME)\n"},
		{"gone back", func() wadi.Status { return rolling(3, wadi.RolloutRolledBack, 0, "4.1 % of 812 requests failed") }, 1,
			"hello: failed, the rollout of hello-00002 went back: 4.1 % of 812 requests failed\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := two(t)
			file := file(t, onPort(9001)+"\n# Another comment.\n")
			b.then(nothing, b.status(rolling(3, wadi.RolloutStepping, 10, "")), b.status(rolling(3, wadi.RolloutJudging, 40, "12 requests")), b.status(tt.end()))
			o := b.wadi(t, "apply", file).normal()
			if want := "hello: pending, rollout of hello-00002 stepping: 10 % of latest, step 2 of 5\nhello: pending, rollout of hello-00002 judging: 40 % of latest, step 2 of 5: 12 requests\n"; o.code != tt.code || !strings.Contains(o.stdout, want) || !strings.Contains(o.stdout+o.stderr, tt.output) {
				t.Errorf("got %+v", o)
			}
		})
	}
}
