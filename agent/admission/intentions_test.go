package admission_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
	"github.com/wadi-run/wadi/api"
)

// meshed is a service in the mesh; more is put into it.
func meshed(name, command string, more ...string) string {
	s := spec(name, command, more...)
	return strings.Replace(s, "mesh    = \"off\"\n  network = \"host\"", "mesh    = \"envoy\"\n  network = \"bridge\"", 1)
}

func allow(callers ...string) string {
	return fmt.Sprintf("intentions {\n    allow = [%s]\n  }", `"`+strings.Join(callers, `", "`)+`"`)
}

// carol may write hello's intentions; others send a token without that right, or none.
func guarded(t *testing.T) bench {
	b := newBench(t)
	b.nomad.Guard("carol", "hello")
	return b
}

func as(consulToken string, r admission.Request) admission.Request {
	r.ConsulToken = consulToken
	return r
}

const policy = `service "hello" { policy = "read" intentions = "write" }`

func TestSubmit_IntentionsTakeTheCallersRight(t *testing.T) {
	b := guarded(t)
	r := request(meshed("hello", "/a", allow("web")))
	_ = b.refused(t, as("bob", r), 403, "a.hcl:4,", "intentions: ", "service hello", "lacks the right", policy)
	_ = b.refused(t, r, 403, "no Consul token was sent", "CONSUL_HTTP_TOKEN", policy)
	_ = b.refused(t, as("carol", request(meshed("other", "/a", allow("web")))), 403, `service "other"`)
	b.untouched(t)
	if _, err := b.Validate(t.Context(), as("bob", r)); err == nil {
		t.Error("validation says that it may be submitted")
	}
	b.submit(t, as("carol", r))
}

func TestSubmit_IntentionsChanged(t *testing.T) {
	for name, tt := range map[string]struct {
		before, after string
		needed        bool
	}{
		"another caller":  {meshed("hello", "/a", allow("web")), meshed("hello", "/a", allow("web", "shop")), true},
		"nobody":          {meshed("hello", "/a", allow("web")), meshed("hello", "/a", "intentions {\n allow = []\n}"), true},
		"removed":         {meshed("hello", "/a", allow("web")), meshed("hello", "/a"), true},
		"added":           {meshed("hello", "/a"), meshed("hello", "/a", allow("web")), true},
		"not public":      {meshed("hello", "/a", allow("web")), meshed("hello", "/a", allow("web"), `visibility = "mesh"`), true},
		"another order":   {meshed("hello", "/a", allow("web", "shop")), meshed("hello", "/a", allow("shop", "web")), false},
		"the app alone":   {meshed("hello", "/a", allow("web")), meshed("hello", "/b", allow("web")), false},
		"without, as was": {meshed("hello", "/a"), meshed("hello", "/b", `visibility = "mesh"`), false},
	} {
		t.Run(name, func(t *testing.T) {
			b := guarded(t)
			b.submit(t, as("carol", request(tt.before)))
			if tt.needed {
				_ = b.refused(t, as("bob", request(tt.after)), 403, policy, "a.hcl:")
				b.submit(t, as("carol", request(tt.after)))
				return
			}
			b.submit(t, as("bob", request(tt.after)))
		})
	}
}

func TestSubmit_IntentionsAllowedByTheAgent(t *testing.T) {
	b := guarded(t)
	b.set(func(s *admission.Settings) { s.AllowIntentions = true })
	b.submit(t, request(meshed("hello", "/a", allow("web"))))
	if err := b.MayRemove(t.Context(), wadi.Service{Name: "hello", Intentions: &wadi.Intentions{}}, ""); err != nil {
		t.Error(err)
	}
	if _, err := admission.New(admission.Config{Store: b.store, Nomad: b.nomad, Catalog: admissiontest.Catalog{}}); err == nil {
		t.Error("an admission that can't ask for the right was made")
	}
}

func TestSubmit_IntentionsWhileConsulIsAway(t *testing.T) {
	b := newBench(t)
	b.Intentions = away{}
	if _, err := b.Submit(t.Context(), request(meshed("hello", "/a", allow("web")))); !errors.Is(err, wadi.ErrUnavailable) {
		t.Errorf("got %v, want unavailable", err)
	}
	b.untouched(t)
	b.submit(t, request(meshed("hello", "/a"))) // It is not asked for nothing.
}

func TestMayRemove(t *testing.T) {
	b := guarded(t)
	with := wadi.Service{Name: "hello", Intentions: &wadi.Intentions{Allow: []string{"web"}}}
	for _, tt := range []struct {
		service wadi.Service
		token   string
		status  int
	}{{with, "carol", 0}, {with, "bob", 403}, {with, "", 403}, {wadi.Service{Name: "hello"}, "", 0}} {
		err := b.MayRemove(t.Context(), tt.service, tt.token)
		var refusal *api.Error
		if tt.status == 0 && err != nil || tt.status != 0 && (!errors.As(err, &refusal) || refusal.Status != tt.status || !strings.Contains(err.Error(), policy)) {
			t.Errorf("%q deletes %+v: got %v", tt.token, tt.service, err)
		}
	}
	b.Intentions = away{}
	if err := b.MayRemove(t.Context(), with, "carol"); !errors.Is(err, wadi.ErrUnavailable) {
		t.Errorf("without Consul: got %v", err)
	}
}

// away is a Consul that does not answer.
type away struct{}

func (away) MayWriteIntentions(context.Context, string, string) error { return wadi.ErrUnavailable }
