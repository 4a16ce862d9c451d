package admission_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
	"github.com/wadi-run/wadi/api"
)

// bench is an Admission among stand-ins.
type bench struct {
	*admission.Admission
	nomad    *admissiontest.Nomad
	store    *admissiontest.Store
	settings *admission.Settings // In force; see set.
}

// set changes settings.
func (b bench) set(change func(*admission.Settings)) {
	change(b.settings)
	b.Set(*b.settings)
}

func newBench(t *testing.T) bench {
	t.Helper()
	b := bench{nomad: &admissiontest.Nomad{}, store: &admissiontest.Store{}}
	a, err := admissiontest.New(b.nomad, b.store, admissiontest.Catalog{"postgres", "foreign-tagged"})
	if err != nil {
		t.Fatal(err)
	}
	b.Admission = a
	s := admissiontest.Settings()
	b.settings = &s
	return b
}

// spec is a service whose instance runs command; more is put beside it.
func spec(name, command string, more ...string) string {
	return fmt.Sprintf(`service %q {
  mesh    = "off"
  network = "host"
  %s
  instance {
    task "web" {
      driver = "raw_exec"
      config {
        command = %q
      }
    }
  }
}
`, name, strings.Join(more, "\n  "), command)
}

func request(sources ...string) admission.Request {
	r := admission.Request{NomadToken: "alice"}
	for i, s := range sources {
		r.Files = append(r.Files, api.File{Name: fmt.Sprintf("%c.hcl", 'a'+i), Source: s})
	}
	return r
}

func (b bench) submit(t *testing.T, r admission.Request) api.Submitted {
	t.Helper()
	out, err := b.Submit(t.Context(), r)
	if err != nil {
		t.Fatalf("submit: %v", err)
	}
	return out
}

// refused submits and wants an *Error with that status and all these texts.
func (b bench) refused(t *testing.T, r admission.Request, status int, texts ...string) *api.Error {
	t.Helper()
	_, err := b.Submit(t.Context(), r)
	var refusal *api.Error
	if !errors.As(err, &refusal) {
		t.Fatalf("got error %v, want a refusal", err)
	}
	if refusal.Status != status {
		t.Errorf("status %d, want %d: %v", refusal.Status, status, err)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q is missing in:\n%v", text, err)
		}
	}
	return refusal
}

// untouched wants that neither Nomad nor the store has anything but these jobs.
func (b bench) untouched(t *testing.T, jobs ...string) {
	t.Helper()
	if diff := cmp.Diff(jobs, b.nomad.Jobs()); diff != "" {
		t.Errorf("jobs at Nomad (-want +got):\n%s", diff)
	}
	if names, _ := b.store.Services(t.Context()); len(names) > 0 {
		t.Errorf("stored: %v", names)
	}
}

func TestSubmit_FirstRevisionIsRegisteredAtZeroWithTheCallersToken(t *testing.T) {
	b := newBench(t)
	got := b.submit(t, request(spec("hello", "/bin/a")))
	want := api.Submitted{Services: []api.SubmittedService{{
		Name: "hello", Index: 1, Generation: 1, Revision: "hello-00001", NewRevision: true, Changed: true,
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("response (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"register hello-00001 alice"}, b.nomad.Calls()); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	job, err := b.nomad.Job(t.Context(), "", "default", "hello-00001")
	if err != nil || job.Count != 0 || job.Meta["wadi_service"] != "hello" || job.Meta["wadi_spec_hash"] == "" {
		t.Errorf("job %+v, %v", job, err)
	}
	stored, _, _ := b.store.Spec(t.Context(), "hello")
	if stored.Source != spec("hello", "/bin/a") || stored.Latest != "hello-00001" || stored.Submitted != 1700000000 {
		t.Errorf("stored %+v", stored)
	}
	if diff := cmp.Diff([]wadi.TrafficTarget{{Revision: "latest", Percent: 100}}, stored.Service.Traffic); diff != "" {
		t.Errorf("traffic (-want +got):\n%s", diff)
	}
}

func TestSubmit_WhatMakesARevision(t *testing.T) {
	first := spec("hello", "/bin/a")
	for _, tt := range []struct {
		name   string
		second string
		want   api.SubmittedService
	}{
		{"the same again changes nothing", first,
			api.SubmittedService{Name: "hello", Index: 1, Generation: 1, Revision: "hello-00001"}},
		{"bounds change in place", spec("hello", "/bin/a", "scale {", "max = 7", "}"),
			api.SubmittedService{Name: "hello", Index: 2, Generation: 2, Revision: "hello-00001", Changed: true}},
		{"a comment makes no revision", "# better\n" + first,
			api.SubmittedService{Name: "hello", Index: 2, Generation: 2, Revision: "hello-00001", Changed: true}},
		{"another command makes one", spec("hello", "/bin/b"),
			api.SubmittedService{Name: "hello", Index: 2, Generation: 2, Revision: "hello-00002", NewRevision: true, Changed: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.submit(t, request(first))
			b.nomad.Calls()
			got := b.submit(t, request(tt.second))
			if diff := cmp.Diff([]api.SubmittedService{tt.want}, got.Services); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
			if calls := b.nomad.Calls(); (len(calls) > 0) != tt.want.NewRevision {
				t.Errorf("calls %v", calls)
			}
		})
	}
}

func TestSubmit_NumbersAreNeverReused(t *testing.T) {
	b := newBench(t)
	b.submit(t, request(spec("hello", "/bin/a")))
	b.submit(t, request(spec("hello", "/bin/b")))
	b.store.ForgetRevisions("hello")
	if got := b.submit(t, request(spec("hello", "/bin/c"))).Services[0].Revision; got != "hello-00003" {
		t.Errorf("revision %s, want hello-00003", got)
	}
}

func TestSubmit_AllMistakesOfAllFilesAtOnce(t *testing.T) {
	b := newBench(t)
	refusal := b.refused(t, request(
		spec("hello", "/bin/a", `colour = "red"`),
		spec("good", "/bin/a"),
		strings.Replace(spec("world", "/bin/a"), "driver", "cpuu = 1\n      driver", 1),
	), http.StatusBadRequest, "a.hcl:4", "colour", "c.hcl:7,7: ", `Did you mean "cpu"?`)
	if len(refusal.Details) != 2 {
		t.Errorf("%d details, want 2:\n%v", len(refusal.Details), refusal)
	}
	b.untouched(t)
}

func TestSubmit_Refused(t *testing.T) {
	many := ""
	for i := range 17 {
		many += spec(fmt.Sprintf("s%d", i), "/bin/a")
	}
	for _, tt := range []struct {
		name   string
		r      admission.Request
		status int
		texts  []string
	}{
		{"nothing", admission.Request{}, 400, []string{"no file"}},
		{"no service", request("locals {}\n"), 400, []string{"no service"}},
		{"file without a name", admission.Request{Submission: api.Submission{Files: []api.File{{Source: "x"}}}}, 400, []string{"no name"}},
		{"two files of one name", admission.Request{Submission: api.Submission{Files: []api.File{{Name: "a"}, {Name: "a"}}}}, 400, []string{"two files"}},
		{"too large", request(strings.Repeat("#", 65<<10)), 413, []string{"66560", "65536"}},
		{"too many services", request(many), 413, []string{"17 services", "16"}},
		{"two services of one name", request(spec("hello", "/a"), spec("hello", "/b")), 400, []string{"b.hcl:1", "hello"}},
		{"foreign Consul service", request(spec("postgres", "/a")), 422, []string{"a.hcl:1", "is not managed by Wadi"}},
		{"a name below the gateway's domain", request(spec("hello", "/a", `domains = ["other.wadi.localhost"]`)), 422,
			[]string{"a.hcl:4", "other.wadi.localhost"}},
		{"check_index of another", admission.Request{Submission: api.Submission{Files: request(spec("hello", "/a")).Files, CheckIndex: map[string]uint64{"x": 1}}}, 400,
			[]string{`"x"`}},
		{"check_index of one that isn't there", admission.Request{Submission: api.Submission{Files: request(spec("hello", "/a")).Files, CheckIndex: map[string]uint64{"hello": 9}}}, 409,
			[]string{"check_index is 9", "stored index is 0"}},
		{"a revision that isn't there", request(spec("hello", "/a", "traffic {", `revision = "hello-00009"`, "percent = 100", "}")), 422,
			[]string{"hello-00009"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			_ = b.refused(t, tt.r, tt.status, tt.texts...)
			b.untouched(t)
		})
	}
}

func TestSubmit_RefusedBecauseOfWhatIsStored(t *testing.T) {
	for _, tt := range []struct {
		name   string
		second admission.Request
		status int
		texts  []string
	}{
		{"namespace", request(spec("hello", "/a", `namespace = "prod"`)), 422, []string{"a.hcl:4", "namespace", "can't change"}},
		{"protocol", request(spec("hello", "/a", `protocol = "grpc"`)), 422, []string{"protocol", "can't change", "http1"}},
		{"domain of another", request(spec("world", "/a", `domains = ["hello.example.com"]`)), 422, []string{`belongs to the service "hello"`}},
		{"must not exist", admission.Request{Submission: api.Submission{Files: request(spec("hello", "/b")).Files, CheckIndex: map[string]uint64{"hello": 0}}}, 409,
			[]string{"stored index is 1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.submit(t, request(spec("hello", "/a", `domains = ["hello.example.com"]`)))
			_ = b.refused(t, tt.second, tt.status, tt.texts...)
			if diff := cmp.Diff([]string{"default/hello-00001"}, b.nomad.Jobs()); diff != "" {
				t.Errorf("jobs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSubmit_DomainMovesWithinOneSubmission(t *testing.T) {
	b := newBench(t)
	b.submit(t, request(spec("hello", "/a", `domains = ["x.example.com"]`)))
	b.submit(t, request(spec("hello", "/a"), spec("world", "/a", `domains = ["x.example.com"]`)))
}

func TestSubmit_BeingDeleted(t *testing.T) {
	b := newBench(t)
	b.submit(t, request(spec("hello", "/a")))
	if err := b.store.MarkDeleting(t.Context(), "hello", 1); err != nil {
		t.Fatal(err)
	}
	_ = b.refused(t, request(spec("hello", "/b")), 409, "being deleted")
}

func TestSubmit_Rights(t *testing.T) {
	b := newBench(t)
	b.nomad.Allow("alice", admissiontest.Grant{Submit: []string{"default"}})
	b.nomad.Allow("bob", admissiontest.Grant{Read: []string{"default"}})
	r := request(spec("hello", "/a"))
	for _, token := range []string{"", "bob"} {
		r.NomadToken = token
		if _, err := b.Submit(t.Context(), r); !errors.Is(err, wadi.ErrForbidden) {
			t.Errorf("token %q: %v, want forbidden", token, err)
		}
	}
	b.untouched(t)
	b.submit(t, request(spec("hello", "/a")))
	// A change without a new revision needs the right too.
	r = request(spec("hello", "/a", "priority = 50"))
	r.NomadToken = "bob"
	if _, err := b.Submit(t.Context(), r); !errors.Is(err, wadi.ErrForbidden) {
		t.Errorf("bob changed a service: %v", err)
	}
}

// A caller without the right to submit learns no mistake of a file. Only the namespace of
// the file is evaluated.
func TestSubmit_RightsBeforeMistakes(t *testing.T) {
	b := newBench(t)
	b.nomad.Allow("alice", admissiontest.Grant{Submit: []string{"default"}})
	r := request("locals {\n  n = \"default\"\n}\n" + spec("hello", "/a", "namespace = local.n", "priority = nosuch(1)"))
	r.NomadToken = "mallory"
	for _, do := range []func(context.Context, admission.Request) (api.Submitted, error){b.Submit, b.Validate} {
		if _, err := do(t.Context(), r); !errors.Is(err, wadi.ErrForbidden) {
			t.Errorf("got %v, want forbidden", err)
		}
	}
	r.NomadToken = "alice"
	if _, err := b.Submit(t.Context(), r); errors.Is(err, wadi.ErrForbidden) || err == nil {
		t.Errorf("got %v, want what is wrong", err)
	}
}

// Parsing takes hundreds of times the size of a file, even of one without a service. Files
// of callers unknown to Nomad are not parsed; those of others wait for Scan and Evaluate.
func TestSubmit_NothingIsReadForNobody(t *testing.T) {
	b := newBench(t)
	b.nomad.Allow("alice", admissiontest.Grant{Submit: []string{"default"}})
	var did []string
	r := request(strings.Repeat("a {}\n", 10))
	r.Scan = func(context.Context) (func(), error) {
		did = append(did, "scan")
		return func() { did = append(did, "done") }, nil
	}
	r.Evaluate = func() (context.Context, error) { did = append(did, "evaluate"); return t.Context(), nil }
	for _, token := range []string{"mallory", ""} {
		r.NomadToken = token
		if _, err := b.Submit(t.Context(), r); !errors.Is(err, wadi.ErrForbidden) || did != nil {
			t.Errorf("%q: got %v, %v", token, err, did)
		}
	}
	r.NomadToken = "alice"
	if _, err := b.Submit(t.Context(), r); errors.Is(err, wadi.ErrForbidden) || strings.Join(did, " ") != "scan done evaluate" {
		t.Errorf("alice: got %v, %v", err, did)
	}
	did = nil
	b.nomad.Fail(wadi.ErrUnavailable)
	if _, err := b.Submit(t.Context(), r); errors.Is(err, wadi.ErrForbidden) || strings.Join(did, " ") != "scan done scan done" {
		t.Errorf("Nomad is away: got %v, %v", err, did)
	}
}

// Nomad checks the right to parse a job in the namespace of the request: a token for one
// namespace is enough for a service in it.
func TestSubmit_RightsInOneNamespace(t *testing.T) {
	b := newBench(t)
	b.nomad.Allow("alice", admissiontest.Grant{Submit: []string{"payments"}})
	r := request(spec("hello", "/a", `namespace = "payments"`))
	r.NomadToken = "alice"
	if _, err := b.Submit(t.Context(), r); err != nil {
		t.Error(err)
	}
}

func TestSubmit_NomadRefusesOneOfTwo(t *testing.T) {
	b := newBench(t)
	b.nomad.OnPlan = func(id string) (string, error) {
		if id == "world-00001" {
			return "", errors.New("1 error occurred: group i has no good driver")
		}
		return "", nil
	}
	_ = b.refused(t, request(spec("hello", "/a"), spec("world", "/a")), 422, "b.hcl", "Nomad refuses the job", "no good driver")
	b.untouched(t)
}

func TestSubmit_SecondRegistrationFailsAndTheFirstIsTakenBack(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want func(error) bool
	}{
		{"refused", errors.New("quota exceeded"), func(err error) bool {
			var e *api.Error
			return errors.As(err, &e) && e.Status == 422 && strings.Contains(err.Error(), "quota exceeded")
		}},
		{"away", wadi.ErrUnavailable, func(err error) bool { return errors.Is(err, wadi.ErrUnavailable) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.nomad.OnRegister = func(id string) error {
				if id == "world-00001" {
					return tt.err
				}
				return nil
			}
			if _, err := b.Submit(t.Context(), request(spec("hello", "/a"), spec("world", "/a"))); !tt.want(err) {
				t.Errorf("got %v", err)
			}
			want := []string{"register hello-00001 alice", "purge hello-00001 alice"}
			if diff := cmp.Diff(want, b.nomad.Calls()); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			b.untouched(t)
		})
	}
}

func TestSubmit_StoreAwayTakesJobsBack(t *testing.T) {
	b := newBench(t)
	b.store.OnSubmit = func() error { return wadi.ErrUnavailable }
	if _, err := b.Submit(t.Context(), request(spec("hello", "/a"))); !errors.Is(err, wadi.ErrUnavailable) {
		t.Errorf("got %v, want unavailable", err)
	}
	b.untouched(t)
}

func TestSubmit_NomadAwayWithoutMistakes(t *testing.T) {
	b := newBench(t)
	b.nomad.Fail(wadi.ErrUnavailable)
	if _, err := b.Submit(t.Context(), request(spec("hello", "/a"))); !errors.Is(err, wadi.ErrUnavailable) {
		t.Errorf("got %v, want unavailable", err)
	}
	// Mistakes that are known without Nomad are reported all the same.
	_ = b.refused(t, request(spec("hello", "/a", "colour = 1")), 400, "colour")
}

func TestSubmit_CallerGoneWhileCommitting(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	b.nomad.OnRegister = func(string) error { cancel(); return nil }
	if _, err := b.Submit(ctx, request(spec("hello", "/a"))); err != nil {
		t.Errorf("half a submission: %v", err)
	}
}
