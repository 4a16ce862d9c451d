//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// planned runs plan with -json on one file, and returns the plan of its only service.
func planned(t *testing.T, source string) (api.ServicePlan, harness.Result) {
	t.Helper()
	ran := wadiIn(t, map[string]string{"p.hcl": source}, "plan", "-json", "p.hcl")
	var out api.Plan
	if err := json.Unmarshal([]byte(ran.Stdout), &out); err != nil || len(out.Services) != 1 {
		t.Fatalf("no plan of one service: %v", ran)
	}
	return out.Services[0], ran
}

// wantPlanText wants an exit code and these texts on standard output.
func wantPlanText(t *testing.T, ran harness.Result, code int, texts ...string) {
	t.Helper()
	if ran.Code != code {
		t.Errorf("exit code %d, want %d: %v", ran.Code, code, ran)
	}
	for _, text := range texts {
		if !strings.Contains(ran.Stdout, text) {
			t.Errorf("%q is missing in:\n%s", text, ran.Stdout)
		}
	}
}

func namesOf(all []wadi.Change) []string {
	var out []string
	for _, c := range all {
		out = append(out, string(c.Kind)+" "+c.Name)
	}
	return out
}

// What a plan shows is what apply then does, by Nomad's own diff and Consul's own entries;
// and a plan changes nothing.
func TestPlan_IsWhatApplyDoes(t *testing.T) {
	t.Parallel()
	const name = "planned"
	first := hello(name, options{mesh: true, env: map[string]string{"COLOUR": "red"}})
	ran := wadiIn(t, map[string]string{"p.hcl": first}, "plan", "p.hcl")
	wantPlanText(t, ran, 1, `+   Service: "planned" (new revision planned-00001)`, `+   Job: "planned-00001"`,
		`+   Consul: service-splitter "planned"`, "- All instances would be placed.", "wadi apply -check-index 0 p.hcl")
	wantNothing(t, name)

	stack.Deploy(t, first)
	harnesstest.WantStatus(t, stack.Get(t, name, "/"), 200)
	ran = wadiIn(t, map[string]string{"p.hcl": first}, "plan", "p.hcl")
	wantPlanText(t, ran, 0, `Service: "planned" (unchanged, revision planned-00001)`)
	if strings.Contains(ran.Stdout, "+") || strings.Contains(ran.Stdout, "check-index") {
		t.Errorf("an unchanged service has changes:\n%s", ran.Stdout)
	}
	lasting := func() string { // Without instances, which come and go by themselves.
		all := tracesOf(t, name)
		all.services = nil
		return fmt.Sprintf("%+v", all)
	}
	before := lasting()

	in := hello(name, options{mesh: true, env: map[string]string{"COLOUR": "red"}, max: 3})
	got, ran := planned(t, in)
	if ran.Code != 1 || got.NewRevision || got.Job != nil || len(got.Traffic)+len(got.Consul) > 0 || !slices.Equal(namesOf(got.Settings), []string{"edited scale.max"}) {
		t.Errorf("in place: %v", ran)
	}

	next := hello(name, options{mesh: true, env: map[string]string{"COLOUR": "blue"}, max: 3, timeout: `request = "100s"`})
	got, _ = planned(t, next)
	ran = wadiIn(t, map[string]string{"p.hcl": next}, "plan", "p.hcl")
	wantPlanText(t, ran, 1, `+/- Service: "planned" (new revision planned-00002, for instance, timeout.request)`,
		`+/- scale.max: 0 => 3`, `+/- timeout.request: "5m0s" => "1m40s" (forces a new revision)`,
		`+/- Job: "planned-00002" (against that of planned-00001)`, `+/- Env[COLOUR]: red => blue`,
		`+/- Env[WADI_TIMEOUT_REQUEST]: 5m0s => 1m40s`, "+/- Traffic (once planned-00002 is ready)", "planned-00001: 100 %", "planned-00002: 100 %")
	if strings.Contains(ran.Stdout, "wadi_revision") || strings.Contains(ran.Stdout, "Count:") {
		t.Errorf("the diff has more than what was changed:\n%s", ran.Stdout)
	}
	if d := cmp.Diff(before, lasting()); d != "" {
		t.Errorf("a plan changed something (-before +after):\n%s", d)
	}

	ran = wadiIn(t, map[string]string{"p.hcl": next}, "apply", "-check-index", fmt.Sprint(got.Index), "p.hcl")
	if ran.Code != 0 {
		t.Fatalf("apply at the index of the plan: %v", ran)
	}
	wantEntriesAsPlanned(t, got)
	err := harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
		if got, ran = planned(t, next); ran.Code != 0 || got.Changed || len(got.Settings)+len(got.Traffic)+len(got.Consul) > 0 {
			return fmt.Errorf("after apply the same plan has changes: %v", ran)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// wantEntriesAsPlanned wants Consul's splitter to have what the plan said.
func wantEntriesAsPlanned(t *testing.T, p api.ServicePlan) {
	t.Helper()
	if len(p.Traffic) != 2 || p.Traffic[0].Kind != wadi.ChangeDeleted || p.Traffic[1].Revision != p.Revision || p.Traffic[1].After != 100 {
		t.Errorf("traffic %+v", p.Traffic)
	}
	if !slices.Contains(namesOf(p.Consul), fmt.Sprintf("edited service-splitter %q", p.Name)) {
		t.Errorf("no change of the splitter: %v", namesOf(p.Consul))
	}
	svc, err := stack.Agent.Client.Service(t.Context(), p.Name)
	if err != nil || svc.Route == nil || len(svc.Route.Targets) != 1 || svc.Route.Targets[0].Revision != p.Revision {
		t.Errorf("route %+v, %v", svc.Route, err)
	}
}

// What Nomad refuses or can't place is told, as are mistakes, with exit code 255 for what
// apply would refuse.
func TestPlan_Refusals(t *testing.T) {
	t.Parallel()
	bad := wadiIn(t, map[string]string{"p.hcl": hello("badplan", options{instance: "constraint {\n attribute = \"x\"\n operator = \"regexp\"\n value = \"(\"\n}"})}, "plan", "p.hcl")
	if bad.Code != 255 || bad.Stdout != "" || !strings.Contains(bad.Stderr, "Nomad refuses the job") || !strings.Contains(bad.Stderr, "p.hcl:") {
		t.Errorf("Nomad's refusal: %v", bad)
	}
	usage := wadiIn(t, nil, "plan", "-nonsense")
	if usage.Code != 255 {
		t.Errorf("wrong usage: %v", usage)
	}
	nowhere := wadiIn(t, map[string]string{"p.hcl": hello("farplan", options{instance: "constraint {\n attribute = \"${attr.kernel.name}\"\n value = \"plan9\"\n}"})}, "plan", "p.hcl")
	wantPlanText(t, nowhere, 1, "WARNING: Nomad could not place all of them now", "plan9")
	for _, name := range []string{"badplan", "farplan"} {
		wantNothing(t, name)
	}
}

// The load of a service is kept by minute, and forecasts what other settings would have made
// of it.
func TestPlan_Forecast(t *testing.T) {
	t.Parallel()
	const name, sent = "foretold", 40
	stack.Deploy(t, hello(name, options{}))
	always := hello(name, options{min: 1})
	for range sent {
		harnesstest.WantStatus(t, stack.Get(t, name, "/"), 200)
	}
	var load wadi.LoadHistory
	err := harness.Eventually(t.Context(), harnesstest.WaitLong, func() (err error) {
		if load, err = stack.Agent.Client.Load(t.Context(), name); err != nil {
			return err
		}
		if requestsOf(load) == 0 {
			return fmt.Errorf("no load is kept: %+v", load)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := requestsOf(load); n > sent || load.Begin%60 != 0 || load.Minutes() > 5 {
		t.Errorf("%g requests of %d are kept in %d minutes", n, sent, load.Minutes())
	}

	ran := wadiIn(t, map[string]string{"p.hcl": always}, "plan", "-forecast", "p.hcl")
	wantPlanText(t, ran, 1, "+/- scale.min: 0 => 1", "Forecast for foretold, by its load from", "Stored settings   These settings", "Requests that wait", "Instance-seconds")
	ran = wadiIn(t, map[string]string{"p.hcl": always}, "plan", "-json", "-forecast", "-start-up", "2s", "p.hcl")
	var out struct {
		Forecasts []struct {
			Before, After struct {
				Requests, Late  int
				InstanceSeconds float64 `json:"instance_seconds"`
				LongestWait     float64 `json:"longest_wait_s"`
			}
		}
	}
	if err := json.Unmarshal([]byte(ran.Stdout), &out); err != nil || len(out.Forecasts) != 1 {
		t.Fatalf("%v: %v", err, ran)
	}
	// With an instance at all times none waits for a start; without, the first does.
	f := out.Forecasts[0]
	if f.Before.Requests == 0 || f.Before.Late == 0 || f.Before.LongestWait != 2 || f.After.Late != 0 || f.After.InstanceSeconds < f.Before.InstanceSeconds {
		t.Errorf("%+v", f)
	}
	fresh := wadiIn(t, map[string]string{"p.hcl": hello("unforetold", options{})}, "plan", "-forecast", "p.hcl")
	if fresh.Code != 1 || !strings.Contains(fresh.Stderr, "no forecast, as it is new") {
		t.Errorf("of a new service: %v", fresh)
	}
}

func requestsOf(h wadi.LoadHistory) (n float64) {
	for _, r := range h.Requests {
		n += max(0, r)
	}
	return n
}
