package admission_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission"
	"github.com/wadi-run/wadi/api"
)

// target is one for each of "90 latest" or "0 hello-00001 old".
func target(texts ...string) (all []api.Target) {
	for _, text := range texts {
		var t api.Target
		var percent float64
		_, _ = fmt.Sscan(text, &percent, &t.Revision, &t.Tag) // Without a tag it ends early.
		t.Percent = &percent
		all = append(all, t)
	}
	return all
}

var helloOrder = admission.Order{Service: "hello", Namespace: "default", By: "alice"}

// refusalOf wants err to be a refusal with these texts.
func refusalOf(t *testing.T, err error, status int, texts ...string) {
	t.Helper()
	var refusal *api.Error
	if !errors.As(err, &refusal) || refusal.Status != status {
		t.Fatalf("got %v, want status %d", err, status)
	}
	for _, text := range texts {
		if !strings.Contains(refusal.Error()+"\n", text) {
			t.Errorf("%q is missing in:\n%v", text, refusal)
		}
	}
}

func TestSetTraffic(t *testing.T) {
	b := three(t)
	before, _, _ := b.store.Spec(t.Context(), "hello")
	out, err := b.SetTraffic(t.Context(), helloOrder, target("90 latest", "10 hello-00001 stable"))
	if err != nil || !out.Changed {
		t.Fatalf("got %+v, %v", out, err)
	}
	want := []wadi.TrafficTarget{{Revision: "latest", Percent: 90}, {Revision: "hello-00001", Percent: 10, Tag: "stable"}}
	after, index, _ := b.store.Spec(t.Context(), "hello")
	if diff := cmp.Diff(want, after.Service.Traffic); diff != "" || cmp.Diff(want, out.Targets) != "" {
		t.Errorf("traffic (-want +got):\n%s", diff)
	}
	if out.Index != index || out.Generation != before.Generation+1 || after.Generation != out.Generation {
		t.Errorf("index %d, generation %d: got %+v", index, after.Generation, out)
	}
	if after.TrafficOrder.By != "alice" || after.Applied != before.Generation || after.Source != before.Source || after.Latest != before.Latest {
		t.Errorf("stored %+v", after)
	}
	again, err := b.SetTraffic(t.Context(), helloOrder, target("90 latest", "10 hello-00001 stable"))
	if err != nil || again.Changed || again.Index != index {
		t.Errorf("the same again: %+v, %v", again, err)
	}
	// One more keeps the generation of the submission.
	if _, err := b.SetTraffic(t.Context(), helloOrder, target("100 latest")); err != nil {
		t.Fatal(err)
	}
	if s, _, _ := b.store.Spec(t.Context(), "hello"); s.Applied != before.Generation {
		t.Errorf("applied at %d, want %d", s.Applied, before.Generation)
	}
}

func TestSetTraffic_Refused(t *testing.T) {
	half := 50.0
	for _, tt := range []struct {
		name    string
		targets []api.Target
		status  int
		texts   []string
	}{
		{"none", nil, 400, []string{"targets: required"}},
		{"sum", target("90 latest", "9.99 hello-00001"), 400, []string{"targets[0]: ", "must sum to exactly 100, got 99.99"}},
		{"sum of one", target("99 latest"), 400, []string{"targets[0].percent: ", "got 99"}},
		{"all mistakes", target("101 latest", "-1 hello-00001", "0.001 other-00001", "0 nothing", "1 hello-00001 -x-"), 400,
			[]string{"targets[0].percent: ", "targets[1].percent: ", "targets[2].percent: ", "targets[2].revision: ", "targets[3].revision: ", "targets[4].tag: "}},
		{"twice", target("50 latest", "50 latest"), 400, []string{"targets[1]: latest has a target without a tag already"}},
		{"tag twice", target("50 latest a", "50 hello-00001 a"), 400, []string{`targets[1].tag: tag "a" stands for the target already`}},
		{"no share and no tag", target("100 latest", "0 hello-00001"), 400, []string{"targets[1].percent: "}},
		{"no revision", []api.Target{{Percent: &half}, {Revision: "latest", Percent: &half}}, 400, []string{"targets[0].revision: "}},
		{"too many", target(slicesRepeat("1 latest", 40)...), 400, []string{"targets[32]: at most 32"}},
		{"unknown", target("90 latest", "10 hello-00009"), 422, []string{`targets[1].revision: there is no revision "hello-00009"; there are: latest, hello-00003, hello-00001`}},
		{"failed", target("90 latest", "10 hello-00002"), 422, []string{"targets[1].revision: ", `"hello-00002" has failed: no such image`, "apply a file"}},
		{"being deleted", target("90 latest", "10 hello-00001"), 422, []string{`targets[1].revision: revision "hello-00001" is being deleted`}},
		{"a service's name", target("90 latest", "10 hello-00003 canary"), 422, []string{`targets[1].tag: the tag's name "canary-hello" is that of the service "canary-hello"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := three(t)
			b.submit(t, request(spec("canary-hello", "/1")))
			err := b.store.MarkRevision(t.Context(), "hello", "hello-00001", func(wadi.Marked) (wadi.Mark, error) { return wadi.Mark{Deleted: tt.name == "being deleted"}, nil })
			if err != nil {
				t.Fatal(err)
			}
			_, index, _ := b.store.Spec(t.Context(), "hello")
			_, err = b.SetTraffic(t.Context(), helloOrder, tt.targets)
			refusalOf(t, err, tt.status, tt.texts...)
			if _, now, _ := b.store.Spec(t.Context(), "hello"); now != index {
				t.Error("it was stored all the same")
			}
		})
	}
}

func slicesRepeat(s string, n int) (all []string) {
	for range n {
		all = append(all, s)
	}
	return all
}

func TestSetTraffic_RefusedBecauseOfWhatIsStored(t *testing.T) {
	b := three(t)
	_, err := b.SetTraffic(t.Context(), admission.Order{Service: "nothing", Namespace: "default"}, target("100 latest"))
	if !errors.Is(err, wadi.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	other := helloOrder
	other.Namespace = "other"
	_, err = b.SetTraffic(t.Context(), other, target("100 hello-00003"))
	refusalOf(t, err, 409, "hello was replaced in the meantime")
	stale := helloOrder
	stale.CheckIndex = new(uint64)
	_, err = b.SetTraffic(t.Context(), stale, target("100 hello-00003"))
	refusalOf(t, err, 409, "check_index is 0, but the stored index is ")
	_, index, _ := b.store.Spec(t.Context(), "hello")
	if err := b.store.MarkDeleting(t.Context(), "hello", index); err != nil {
		t.Fatal(err)
	}
	_, err = b.SetTraffic(t.Context(), helloOrder, target("100 hello-00003"))
	refusalOf(t, err, 409, "hello is being deleted")
}

// A caller that names no index is served on top of the other's change; one that does gets a
// conflict.
func TestSetTraffic_TwoAtOnce(t *testing.T) {
	b := three(t)
	race := func(command string) {
		b.store.OnSubmit = func() error {
			b.store.OnSubmit = nil
			b.submit(t, request(spec("hello", command)))
			return wadi.ErrConflict
		}
	}
	race("/4")
	if _, err := b.SetTraffic(t.Context(), helloOrder, target("90 hello-00003", "10 latest")); err != nil {
		t.Fatal(err)
	}
	if s, _, _ := b.store.Spec(t.Context(), "hello"); s.Latest != "hello-00004" || len(s.Service.Traffic) != 2 {
		t.Errorf("latest %s, traffic %v", s.Latest, s.Service.Traffic)
	}
	race("/5")
	_, index, _ := b.store.Spec(t.Context(), "hello")
	named := helloOrder
	named.CheckIndex = &index
	if _, err := b.SetTraffic(t.Context(), named, target("100 latest")); !errors.Is(err, wadi.ErrConflict) {
		t.Errorf("got %v", err)
	}
	b.store.OnSubmit = func() error { return wadi.ErrConflict }
	if _, err := b.SetTraffic(t.Context(), helloOrder, target("100 latest")); !errors.Is(err, wadi.ErrConflict) || !strings.Contains(err.Error(), "try again") {
		t.Errorf("got %v", err)
	}
}

// serving makes a revision of hello have all traffic.
func (b bench) serving(main string, revisions map[string]wadi.RevisionState) {
	b.store.SetState("hello", wadi.State{Revisions: revisions})
	b.store.SetRoute(wadi.Route{Service: "hello", Targets: []wadi.RouteTarget{{Revision: main, Weight: wadi.WeightAll}}})
}

func TestRollback(t *testing.T) {
	b := three(t)
	if _, err := b.SetTraffic(t.Context(), helloOrder, target("100 latest", "0 hello-00001 old")); err != nil {
		t.Fatal(err)
	}
	b.serving("hello-00003", map[string]wadi.RevisionState{
		"hello-00001": {Phase: wadi.Retired, WasReady: true}, "hello-00002": {Phase: wadi.Failed, WasReady: true}, "hello-00003": {Phase: wadi.Ready}})
	out, err := b.Rollback(t.Context(), helloOrder, "")
	want := []wadi.TrafficTarget{{Revision: "hello-00001", Percent: 100, Tag: "old"}}
	if err != nil || out.From != "hello-00003" || out.To != "hello-00001" || cmp.Diff(want, b.traffic(t, "hello")) != "" {
		t.Fatalf("got %+v, %v, traffic %v", out, err, b.traffic(t, "hello"))
	}
	// A second one changes nothing, also once the traffic has moved.
	for _, main := range []string{"hello-00003", "hello-00001"} {
		b.serving(main, map[string]wadi.RevisionState{"hello-00001": {Phase: wadi.Ready}, "hello-00003": {Phase: wadi.Ready}})
		if again, err := b.Rollback(t.Context(), helloOrder, ""); err != nil || again.Changed || again.To != "hello-00001" {
			t.Errorf("again: %+v, %v", again, err)
		}
	}
	// What is applied gets no traffic, and says so; a file with traffic takes it over.
	text := strings.Join(b.submit(t, request(spec("hello", "/4"))).Services[0].Warnings, "\n")
	if !strings.Contains(text, "pinned by wadi rollback by alice, so hello-00004 gets no traffic") || !strings.Contains(text, "wadi traffic hello latest=100") {
		t.Errorf("warnings: %s", text)
	}
	text = strings.Join(b.submit(t, request(spec("hello", "/4", to("100 latest")))).Services[0].Warnings, "\n")
	if s, _, _ := b.store.Spec(t.Context(), "hello"); !strings.Contains(text, "takes the place of what was set by wadi rollback") || s.TrafficOrder != (wadi.TrafficOrder{}) {
		t.Errorf("warnings: %s; %+v", text, s.TrafficOrder)
	}
}

func TestRollback_NamedOrNone(t *testing.T) {
	b := three(t)
	_, err := b.Rollback(t.Context(), helloOrder, "")
	refusalOf(t, err, 409, "no revision of hello has traffic yet")
	b.serving("hello-00003", map[string]wadi.RevisionState{"hello-00001": {Phase: wadi.Retired}, "hello-00002": {Phase: wadi.Failed, Reason: "x"}, "hello-00003": {Phase: wadi.Ready}})
	_, err = b.Rollback(t.Context(), helloOrder, "")
	refusalOf(t, err, 409, "no revision is older than hello-00003", "-to names one")
	_, err = b.Rollback(t.Context(), helloOrder, "hello-00002")
	refusalOf(t, err, 422, `"hello-00002" has failed: x`)
	_, err = b.Rollback(t.Context(), helloOrder, "nothing")
	refusalOf(t, err, 422, `there is no revision "nothing"`)
	if out, err := b.Rollback(t.Context(), helloOrder, "hello-00001"); err != nil || out.From != "hello-00003" || out.To != "hello-00001" {
		t.Errorf("got %+v, %v", out, err)
	}
}

// rollingOut makes hello's newest revision take over from the one before.
func (b bench) rollingOut(phase wadi.RolloutPhase) {
	b.store.SetStatus(wadi.Status{Service: "hello", Rollout: &wadi.RolloutStatus{Phase: phase, Revision: "hello-00003", From: "hello-00001", Percent: 10}})
}

func TestRollback_AbortsTheRollout(t *testing.T) {
	b := three(t)
	b.rollingOut(wadi.RolloutStepping)
	out, err := b.Rollback(t.Context(), helloOrder, "")
	if err != nil || !out.Changed || out.Aborted != "hello-00003" || out.To != "hello-00001" || cmp.Diff(out.Before, out.Targets) != "" {
		t.Fatalf("got %+v, %v", out, err)
	}
	s, _, _ := b.store.Spec(t.Context(), "hello")
	if s.Order.Action != wadi.RolloutAbort || s.Order.Revision != "hello-00003" || s.Order.By != "alice" || s.TrafficOrder != (wadi.TrafficOrder{}) {
		t.Errorf("stored %+v, %+v", s.Order, s.TrafficOrder)
	}
	// To another revision it does both.
	b.rollingOut(wadi.RolloutPaused)
	out, err = b.Rollback(t.Context(), helloOrder, "hello-00001")
	if err != nil || out.Aborted != "hello-00003" || len(out.Targets) != 1 || out.Targets[0].Revision != "hello-00001" {
		t.Errorf("got %+v, %v", out, err)
	}
	// Submitting it again is a new attempt, which the order is not about.
	b.store.SetState("hello", wadi.State{Revisions: map[string]wadi.RevisionState{"hello-00003": {Phase: wadi.Ready, Rejected: "aborted by alice"}}})
	b.submit(t, request(spec("hello", "/3")))
	if s, _, _ := b.store.Spec(t.Context(), "hello"); s.Order != (wadi.RolloutOrder{}) || s.Attempt != s.Generation {
		t.Errorf("order %+v, attempt %d at generation %d", s.Order, s.Attempt, s.Generation)
	}
}

func TestOrderRollout(t *testing.T) {
	b := three(t)
	order := func(a wadi.RolloutAction) (api.RolloutOrdered, error) {
		return b.OrderRollout(t.Context(), helloOrder, a)
	}
	_, err := order("stop")
	refusalOf(t, err, 400, `"stop" is not one of`)
	_, err = order(wadi.RolloutPause)
	refusalOf(t, err, 409, "no rollout of hello is under way")
	b.rollingOut(wadi.RolloutDone)
	_, err = order(wadi.RolloutAbort)
	refusalOf(t, err, 409, "hello-00003 has taken over; wadi rollback hello")
	b.rollingOut(wadi.RolloutRolledBack)
	_, err = order(wadi.RolloutResume)
	refusalOf(t, err, 409, "hello-00003 has ended (rolled-back)")

	// The leader has not obeyed the order before in the second and the fifth step.
	for i, step := range []struct {
		phase   wadi.RolloutPhase
		action  wadi.RolloutAction
		changed bool
	}{
		{wadi.RolloutStepping, wadi.RolloutPause, true},
		{wadi.RolloutStepping, wadi.RolloutResume, true},
		{wadi.RolloutStepping, wadi.RolloutResume, false},
		{wadi.RolloutJudging, wadi.RolloutPause, true},
		{wadi.RolloutPaused, wadi.RolloutPause, false},
		{wadi.RolloutPaused, wadi.RolloutResume, true},
		{wadi.RolloutWarming, wadi.RolloutAbort, true},
	} {
		b.rollingOut(step.phase)
		before, _, _ := b.store.Spec(t.Context(), "hello")
		out, err := order(step.action)
		after, index, _ := b.store.Spec(t.Context(), "hello")
		if err != nil || out.Changed != step.changed || out.Revision != "hello-00003" || out.Index != index {
			t.Fatalf("step %d: %+v, %v", i, out, err)
		}
		if step.changed && (after.Generation != before.Generation+1 || after.Order.Action != step.action || after.Order.At == 0 || after.Applied == 0) {
			t.Errorf("step %d: stored %+v", i, after)
		}
	}
	_, err = order(wadi.RolloutResume)
	refusalOf(t, err, 409, "is being aborted")
}
