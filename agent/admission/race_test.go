package admission_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
	"github.com/wadi-run/wadi/api"
)

// Another submission of the same service wins while this one registers: it keeps
// its job, and only this one's job goes.
func TestSubmit_LoserPurgesOnlyItsOwnJob(t *testing.T) {
	b := newBench(t)
	b.submit(t, request(spec("hello", "/a"), spec("world", "/a")))
	b.nomad.Calls()
	other := newBench(t)
	other.Store, other.Nomad = b.store, b.nomad

	raced := false
	b.nomad.OnRegister = func(id string) error {
		if id == "world-00002" && !raced {
			raced = true
			other.submit(t, request(spec("world", "/other")))
		}
		return nil
	}
	_, err := b.Submit(t.Context(), request(spec("hello", "/b"), spec("world", "/b")))
	if err == nil {
		t.Fatal("both won")
	}
	want := []string{"default/hello-00001", "default/world-00001", "default/world-00002"}
	if diff := cmp.Diff(want, b.nomad.Jobs()); diff != "" {
		t.Errorf("jobs (-want +got):\n%s", diff)
	}
	if got := b.submit(t, request(spec("world", "/other"))).Services[0]; got.Changed {
		t.Errorf("the winner's submission was not kept: %+v", got)
	}
}

// A caller that may submit but not read is refused the reading once, for any number of
// services, because each refusal takes time.
func TestSubmit_WithoutReadIsRefusedOnce(t *testing.T) {
	b := newBench(t)
	b.nomad.Allow("blind", admissiontest.Grant{Blind: []string{"default"}})
	r := request(spec("hello", "/a"), spec("world", "/a"), spec("third", "/a"))
	r.NomadToken = "blind"
	b.submit(t, r)
	if asked := strings.Join(b.nomad.Asked(), " "); strings.Count(asked, "allowed=false") != 1 {
		t.Errorf("asked %s, want one refusal", asked)
	}
}

// The store says conflict after both have registered: the stored revision's job
// stays, also where the other's was the very same job.
func TestSubmit_ConflictAfterTakeOver(t *testing.T) {
	for _, command := range []string{"/other", "/a"} {
		t.Run(command, func(t *testing.T) {
			b := newBench(t)
			other := newBench(t)
			other.Store, other.Nomad = b.store, b.nomad
			raced := false
			b.store.OnSubmit = func() error {
				if !raced {
					raced = true
					// It finds the job of the first at count 0, takes it over, and stores.
					other.submit(t, request(spec("hello", command)))
				}
				return nil
			}
			if _, err := b.Submit(t.Context(), request(spec("hello", "/a"))); !errors.Is(err, wadi.ErrConflict) {
				t.Errorf("got %v, want a conflict", err)
			}
			if diff := cmp.Diff([]string{"default/hello-00001"}, b.nomad.Jobs()); diff != "" {
				t.Errorf("jobs (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSubmit_JobInTheWay(t *testing.T) {
	managed := map[string]string{"wadi_service": "hello", "wadi_spec_hash": "0123"}
	for _, tt := range []struct {
		name  string
		meta  map[string]string
		count int
		text  string // Of the refusal; empty: it is taken over.
	}{
		{"somebody else's", nil, 0, "is not managed by Wadi"},
		{"of another service", map[string]string{"wadi_service": "world", "wadi_spec_hash": "0123"}, 0, "is not managed by Wadi"},
		{"managed and running", managed, 2, "running job"},
		{"managed, left over", managed, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.nomad.Put("default", "hello-00001", tt.meta, tt.count)
			if tt.text != "" {
				_ = b.refused(t, request(spec("hello", "/a")), 409, tt.text, "hello-00001")
				b.untouched(t, "default/hello-00001")
				return
			}
			b.submit(t, request(spec("hello", "/a")))
			if diff := cmp.Diff([]string{"register hello-00001 alice"}, b.nomad.Calls()); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

// A job that was taken over is not this submission's to remove.
func TestSubmit_FailureLeavesTakenOverJob(t *testing.T) {
	b := newBench(t)
	b.nomad.Put("default", "hello-00001", map[string]string{"wadi_service": "hello", "wadi_spec_hash": "0123"}, 0)
	b.store.OnSubmit = func() error { return wadi.ErrUnavailable }
	if _, err := b.Submit(t.Context(), request(spec("hello", "/a"))); !errors.Is(err, wadi.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	b.untouched(t, "default/hello-00001")
}

func TestValidate_ChangesNothing(t *testing.T) {
	b := newBench(t)
	b.nomad.OnPlan = func(string) (string, error) { return "deprecated", nil }
	got, err := b.Validate(t.Context(), request(spec("hello", "/a")))
	if err != nil {
		t.Fatal(err)
	}
	if s := got.Services[0]; !s.NewRevision || s.Revision != "hello-00001" || s.Index != 0 ||
		!cmp.Equal(s.Warnings, []string{"Nomad warns: deprecated"}) {
		t.Errorf("got %+v", s)
	}
	b.untouched(t)
	if calls := b.nomad.Calls(); len(calls) > 0 {
		t.Errorf("calls %v", calls)
	}
}

// A job that was registered under the same ID after this one is foreign.
func TestSubmit_FailureLeavesJobThatOthersChanged(t *testing.T) {
	b := newBench(t)
	b.store.OnSubmit = func() error {
		b.nomad.Put("default", "hello-00001", nil, 1)
		return wadi.ErrUnavailable
	}
	if _, err := b.Submit(t.Context(), request(spec("hello", "/a"))); !errors.Is(err, wadi.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	b.untouched(t, "default/hello-00001")
}

// What is too much for the store is refused before anything is registered.
func TestSubmit_TooMuchForTheStore(t *testing.T) {
	b := newBench(t)
	b.store.Most = 1
	_, err := b.Submit(t.Context(), request(spec("hello", "/a"), spec("world", "/a")))
	var refused *api.Error
	if !errors.As(err, &refused) || refused.Status != http.StatusRequestEntityTooLarge || !strings.Contains(refused.Message, "in parts") {
		t.Errorf("got %v, want a refusal with 413 that says what to do", err)
	}
	for _, call := range b.nomad.Calls() {
		if strings.Contains(call, "register") {
			t.Errorf("%s", call)
		}
	}
	b.submit(t, request(spec("hello", "/a")))
}
