package admission_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
	"github.com/wadi-run/wadi/agent/plan"
	"github.com/wadi-run/wadi/api"
)

// plan plans one service.
func (b bench) plan(t *testing.T, r admission.Request) api.ServicePlan {
	t.Helper()
	out, err := b.Plan(t.Context(), r)
	if err != nil || len(out.Services) != 1 {
		t.Fatalf("plan: %+v, %v", out, err)
	}
	if out.Changed != out.Services[0].Changed {
		t.Errorf("changed %t, of its service %t", out.Changed, out.Services[0].Changed)
	}
	return out.Services[0]
}

func TestPlan_NewService(t *testing.T) {
	b := newBench(t)
	got := b.plan(t, request(spec("hello", "/bin/a", "scale {\n initial = 3\n}")))
	if !got.Changed || got.Index != 0 || !got.NewRevision || got.Revision != "hello-00001" || got.Job == nil || got.Job.Base != "" || got.Job.Count != 3 {
		t.Errorf("plan %+v, job %+v", got, got.Job)
	}
	want := []api.PlannedTraffic{{Revision: "hello-00001", Kind: wadi.ChangeAdded, After: 100}}
	if d := cmp.Diff(want, got.Traffic); d != "" {
		t.Errorf("traffic (-want +got):\n%s", d)
	}
	b.untouched(t)
	if calls := b.nomad.Calls(); len(calls) > 0 {
		t.Errorf("a plan changed jobs: %v", calls)
	}
}

// A new revision's job is compared with the newest job there is, under that job's name.
func TestPlan_NewRevision(t *testing.T) {
	b := newBench(t)
	b.submit(t, request(spec("hello", "/bin/a")))
	b.submit(t, request(spec("hello", "/bin/b")))
	if err := b.nomad.Purge(t.Context(), "", "default", "hello-00002"); err != nil {
		t.Fatal(err)
	}
	b.nomad.Calls()
	b.store.SetRoute(wadi.Route{Service: "hello", Targets: []wadi.RouteTarget{{Revision: "hello-00002", Weight: wadi.WeightAll}}})
	got := b.plan(t, request(spec("hello", "/bin/c", "timeout {\n request = \"7s\"\n}", "scale {\n max = 4\n}")))
	if got.Revision != "hello-00003" || got.Index != 2 || got.Job == nil || got.Job.Base != "hello-00001" {
		t.Fatalf("plan %+v, job %+v", got, got.Job)
	}
	if len(got.Job.Diff.Changes) != 1 || got.Job.Diff.Changes[0].Old != `"command":"/bin/a"` || got.Job.Diff.Changes[0].New != `"command":"/bin/c"` {
		t.Errorf("diff %+v", got.Job.Diff)
	}
	if d := cmp.Diff([]string{"instance", "timeout.request"}, got.Because); d != "" {
		t.Errorf("because (-want +got):\n%s", d)
	}
	var settings []string
	for _, c := range got.Settings {
		settings = append(settings, c.Name)
	}
	if !slices.Equal(settings, []string{"scale.max", "timeout.request"}) {
		t.Errorf("settings %v", settings)
	}
	want := []api.PlannedTraffic{
		{Revision: "hello-00002", Kind: wadi.ChangeDeleted, Before: 100}, {Revision: "hello-00003", Kind: wadi.ChangeAdded, After: 100},
	}
	if d := cmp.Diff(want, got.Traffic); d != "" {
		t.Errorf("traffic (-want +got):\n%s", d)
	}
	if calls := b.nomad.Calls(); len(calls) > 0 {
		t.Errorf("a plan changed jobs: %v", calls)
	}
}

func TestPlan_InPlaceAndUnchanged(t *testing.T) {
	b := newBench(t)
	b.submit(t, request(spec("hello", "/bin/a")))
	if got := b.plan(t, request(spec("hello", "/bin/a"))); got.Changed || got.Job != nil || len(got.Settings) > 0 || got.Revision != "hello-00001" {
		t.Errorf("unchanged: %+v", got)
	}
	got := b.plan(t, request(spec("hello", "/bin/a", "retention {\n keep = 1\n}")))
	if !got.Changed || got.NewRevision || got.Job != nil || len(got.Because) > 0 || len(got.Settings) != 1 || got.Settings[0].Name != "retention.keep" {
		t.Errorf("in place: %+v", got)
	}
}

// A plan shows what is stored: it takes the right to read, unlike a submission.
func TestPlan_TakesTheRightToRead(t *testing.T) {
	b := newBench(t)
	b.submit(t, request(spec("hello", "/bin/secret")))
	b.nomad.Allow("alice", admissiontest.Grant{Blind: []string{"default"}})
	_, err := b.Plan(t.Context(), request(spec("hello", "/bin/b")))
	if !errors.Is(err, wadi.ErrForbidden) || !strings.Contains(err.Error(), `read-job in namespace "default"`) || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
	if _, err := b.Submit(t.Context(), request(spec("hello", "/bin/b"))); err != nil {
		t.Errorf("submit: %v", err)
	}
}

// Nomad's plan does not check the rights to volumes, its registration does: what it would
// refuse is refused before anything is registered, by every call.
func TestPlan_RightsOfTheJobItself(t *testing.T) {
	b := newBench(t)
	b.nomad.OnMayRegister = func(string) error { return fmt.Errorf("%w: registration is disabled", wadi.ErrForbidden) }
	without := spec("hello", "/bin/a")
	with := strings.Replace(without, "instance {", "instance {\n volume \"data\" {\n type = \"host\"\n source = \"data\"\n }", 1)
	for source, volumes := range map[string]bool{without: false, with: true} {
		r := request(source)
		_, validated := b.Validate(t.Context(), r)
		_, submitted := b.Submit(t.Context(), r)
		_, planned := b.Plan(t.Context(), r)
		for _, err := range []error{validated, submitted, planned} {
			if !errors.Is(err, wadi.ErrForbidden) || !strings.Contains(err.Error(), "registration is disabled") {
				t.Errorf("got %v, want what Nomad says", err)
			} else if strings.Contains(err.Error(), "host_volume") != volumes {
				t.Errorf("a job with volumes %t: %v", volumes, err)
			}
		}
	}
	b.untouched(t)
}

func TestPlan_RefusedByNomad(t *testing.T) {
	b := newBench(t)
	b.submit(t, request(spec("hello", "/bin/a")))
	b.nomad.OnPlan = func(id string) (string, error) {
		if id == "hello-00002" {
			return "", errors.New("constraint is bad")
		}
		return "", nil
	}
	_, err := b.Plan(t.Context(), request(spec("hello", "/bin/b")))
	var refusal *api.Error
	if !errors.As(err, &refusal) || refusal.Status != http.StatusUnprocessableEntity || !strings.Contains(err.Error(), "a.hcl:5,3: instance: Nomad refuses the job: constraint is bad") {
		t.Errorf("got %v", err)
	}
}

// entries answers with fixed entries.
type entries struct {
	plan.Entries
	err error
}

func (e entries) Preview(context.Context, wadi.Route) (plan.Entries, error) { return e.Entries, e.err }

func TestPlan_ConsulsEntries(t *testing.T) {
	b := newBench(t)
	b.Entries = entries{Entries: plan.Entries{
		All: []plan.Entry{
			{Kind: "service-splitter", Name: "hello", Before: map[string]any{"a": "1"}, After: map[string]any{"a": "2"}},
			{Kind: "service-defaults", Name: "hello", Before: map[string]any{"a": "1"}, After: map[string]any{"a": "1"}},
		},
		Foreign: []string{"service-router hello"},
	}}
	got := b.plan(t, request(spec("hello", "/bin/a")))
	if len(got.Consul) != 1 || got.Consul[0].Name != `service-splitter "hello"` || len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "a service-router hello that Wadi does not manage") {
		t.Errorf("entries %+v, warnings %v", got.Consul, got.Warnings)
	}
	b.Entries = entries{err: wadi.ErrUnavailable}
	if _, err := b.Plan(t.Context(), request(spec("hello", "/bin/a"))); !errors.Is(err, wadi.ErrUnavailable) {
		t.Errorf("Consul away: %v", err)
	}
}
