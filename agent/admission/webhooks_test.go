package admission_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
	"github.com/wadi-run/wadi/agent/admission/rules"
	"github.com/wadi-run/wadi/agent/admission/webhook"
	"github.com/wadi-run/wadi/api"
)

// hook is a real webhook with a fixed answer, and what it was asked.
type hook struct {
	answer string
	status int

	mu    sync.Mutex
	asked []string
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = append(h.asked, string(body))
	if h.status != 0 {
		w.WriteHeader(h.status)
	}
	_, _ = io.WriteString(w, h.answer)
}

// questions empties what was asked.
func (h *hook) questions() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.asked
	h.asked = nil
	return out
}

// with adds a webhook with an answer to a bench.
func (b bench) with(t *testing.T, c webhook.Config, answer string) *hook {
	t.Helper()
	h := &hook{answer: answer}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	c.URL, c.Timeout = s.URL, 10*time.Second
	w, err := webhook.New(c)
	if err != nil {
		t.Fatal(err)
	}
	b.set(func(s *admission.Settings) { s.Webhooks = append(s.Webhooks, w) })
	t.Cleanup(w.Close)
	return h
}

func patch(operations ...string) string {
	return `{"allowed": true, "patch": [` + strings.Join(operations, ",") + `]}`
}

func TestWebhooks_MutateBeforeValidate(t *testing.T) {
	b := newBench(t)
	judge := b.with(t, webhook.Config{Name: "judge", Require: true}, `{"allowed": true, "message": "mind the cost"}`)
	first := b.with(t, webhook.Config{Name: "first", Mutate: true, Require: true}, patch(
		`{"op": "add", "path": "/service/meta/team", "value": "payments"}`,
		`{"op": "replace", "path": "/service/scale/max", "value": 7}`))
	second := b.with(t, webhook.Config{Name: "second", Mutate: true, Require: true}, patch(
		`{"op": "test", "path": "/service/meta/team", "value": "payments"}`,
		`{"op": "add", "path": "/instance/Tasks/0/Env", "value": {"REGION": "eu"}}`))
	dry, err := b.Validate(t.Context(), request(spec("hello", "/bin/a")))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{
		`admission webhook "first" changes it`, `admission webhook "second" changes it`, `admission webhook "judge": mind the cost`,
	}, dry.Services[0].Warnings); diff != "" {
		t.Errorf("warnings of a dry run (-want +got):\n%s", diff)
	}
	for _, h := range []*hook{first, second, judge} {
		h.questions() // Those of the dry run.
	}
	got := b.submit(t, request(spec("hello", "/bin/a")))
	if diff := cmp.Diff([]string{`admission webhook "judge": mind the cost`}, got.Services[0].Warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	stored, _, _ := b.store.Spec(t.Context(), "hello")
	s := stored.Service
	if s.Meta["team"] != "payments" || s.Scale.Max != 7 || !strings.Contains(string(s.Instance), `"REGION":"eu"`) {
		t.Errorf("stored %+v", s)
	}
	if stored.Source != spec("hello", "/bin/a") {
		t.Errorf("the source is %q, want the user's", stored.Source)
	}
	if n := len(first.questions()) + len(second.questions()); n != 2 {
		t.Errorf("%d questions to mutating webhooks, want one each", n)
	}
	asked := judge.questions()
	if len(asked) != 1 || !strings.Contains(asked[0], `"team":"payments"`) || !strings.Contains(asked[0], `"REGION":"eu"`) || !strings.Contains(asked[0], `"percent":100`) {
		t.Errorf("the judge was asked %v, want once, about what will be stored", asked)
	}
	// The same file again is the same service, and makes no revision.
	if again := b.submit(t, request(spec("hello", "/bin/a"))); again.Services[0].Changed || again.Services[0].NewRevision {
		t.Errorf("submitted again: %+v", again)
	}
}

// A webhook gets neither of the caller's tokens.
func TestWebhooks_NoTokens(t *testing.T) {
	b := newBench(t)
	h := b.with(t, webhook.Config{Name: "judge", Require: true}, `{"allowed": true}`)
	r := request(spec("hello", "/bin/a"))
	r.NomadToken, r.ConsulToken = "nomad-secret", "consul-secret"
	b.nomad.Allow(r.NomadToken, admissiontest.Grant{Submit: []string{"default"}, Read: []string{"default"}})
	if _, err := b.Validate(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	b.submit(t, r)
	for i, asked := range h.questions() {
		var q struct {
			User   string
			DryRun bool `json:"dry_run"`
		}
		if err := json.Unmarshal([]byte(asked), &q); err != nil || q.User != "alice" || q.DryRun != (i == 0) || strings.Contains(asked, "secret") {
			t.Errorf("question %d: %s, %v", i, asked, err)
		}
	}
}

// A caller without rights makes the agent ask no webhook.
func TestWebhooks_RightsFirst(t *testing.T) {
	b := newBench(t)
	h := b.with(t, webhook.Config{Name: "judge", Require: true}, `{"allowed": true}`)
	b.nomad.Allow("alice", admissiontest.Grant{Submit: []string{"other"}})
	if _, err := b.Submit(t.Context(), request(spec("hello", "/bin/a"))); !errors.Is(err, wadi.ErrForbidden) {
		t.Errorf("got %v, want that it is forbidden", err)
	}
	if asked := h.questions(); len(asked) > 0 {
		t.Errorf("asked %v", asked)
	}
}

func TestWebhooks_Refuse(t *testing.T) {
	for _, mutate := range []bool{false, true} {
		t.Run(fmt.Sprintf("mutate is %v", mutate), func(t *testing.T) {
			b := newBench(t)
			b.with(t, webhook.Config{Name: "policy", Mutate: mutate}, `{"allowed": false, "message": "not on \u001b[1mFriday\n"}`)
			after := b.with(t, webhook.Config{Name: "after", Mutate: mutate}, `{"allowed": true}`)
			refusal := b.refused(t, request(spec("hello", "/bin/a"), spec("world", "/bin/a")), http.StatusUnprocessableEntity,
				`a.hcl:1,1: admission webhook "policy" refuses it: not on [1mFriday`, `b.hcl:1,1: admission webhook "policy"`)
			if len(refusal.Details) != 2 {
				t.Errorf("details %v, want one of each service", refusal.Details)
			}
			if asked := after.questions(); len(asked) > 0 {
				t.Errorf("a later webhook was asked %v", asked)
			}
			b.untouched(t)
		})
	}
}

// Without an answer a submission is refused, or the webhook is skipped, as it is configured.
func TestWebhooks_NoAnswer(t *testing.T) {
	b := newBench(t)
	h := b.with(t, webhook.Config{Name: "cost"}, "")
	b.submit(t, request(spec("hello", "/bin/a"), spec("world", "/bin/a")))
	if n := len(h.questions()); n != 1 {
		t.Errorf("asked %d times, want once for the submission", n)
	}

	b = newBench(t)
	b.with(t, webhook.Config{Name: "policy", Require: true}, `{"allowed": "yes"}`)
	_, err := b.Submit(t.Context(), request(spec("hello", "/bin/a")))
	if api.StatusOf(err) != http.StatusServiceUnavailable || !strings.Contains(err.Error(), `admission webhook "policy" gives no usable answer`) {
		t.Errorf("got %v with status %d", err, api.StatusOf(err))
	}
	b.untouched(t)
}

// What a patch makes is checked like what a user submits.
func TestWebhooks_BadChange(t *testing.T) {
	const mine = `admission webhook "policy" made it wrong: `
	for _, tt := range []struct {
		name   string
		patch  string
		status int
		text   string
	}{
		{"out of range", `{"op": "add", "path": "/service/scale/min", "value": 500}`, 422, "a.hcl:1,1: scale.min: " + mine + "must be between 0 and 100, got 500"},
		{"wrong type", `{"op": "add", "path": "/service/port", "value": "high"}`, 422, "port: " + mine + "a number is required"},
		{"unknown", `{"op": "add", "path": "/service/colour", "value": "blue"}`, 422, mine + `there is no field "colour" here`},
		{"another namespace", `{"op": "replace", "path": "/service/namespace", "value": "prod"}`, 422, "namespace: " + mine + "it can't be changed here"},
		{"another name", `{"op": "replace", "path": "/service/name", "value": "other"}`, 422, "name: " + mine + "it can't be changed here"},
		{"a count", `{"op": "add", "path": "/instance/Count", "value": 3}`, 422, "a.hcl:5,3: instance.count: " + mine + "Wadi decides"},
		{"Wadi's variable", `{"op": "add", "path": "/instance/Tasks/0/Env", "value": {"WADI_LISTEN": "x"}}`, 422, "a.hcl:6,5: instance.task.web.env.WADI_LISTEN: " + mine},
		{"a reserved domain", `{"op": "add", "path": "/service/domains/-", "value": "x.wadi.localhost"}`, 422, `the domain "x.wadi.localhost" is kept`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.with(t, webhook.Config{Name: "policy", Mutate: true}, patch(tt.patch))
			b.refused(t, request(spec("hello", "/bin/a")), tt.status, tt.text)
			b.untouched(t)
		})
	}
}

// Two services of one submission can't get the same domain from a webhook.
func TestWebhooks_DomainTwice(t *testing.T) {
	b := newBench(t)
	b.with(t, webhook.Config{Name: "policy", Mutate: true}, patch(`{"op": "add", "path": "/service/domains/-", "value": "shop.example.com"}`))
	b.refused(t, request(spec("hello", "/bin/a"), spec("world", "/bin/a")), http.StatusUnprocessableEntity,
		`b.hcl:1,1: domains: the domain "shop.example.com" is that of service "hello" in the same submission`)
}

// The protocol can't change, whoever changes it.
func TestWebhooks_ProtocolStays(t *testing.T) {
	b := newBench(t)
	b.submit(t, request(spec("hello", "/bin/a")))
	b.with(t, webhook.Config{Name: "policy", Mutate: true}, patch(`{"op": "replace", "path": "/service/protocol", "value": "h2c"}`))
	b.refused(t, request(spec("hello", "/bin/a")), http.StatusUnprocessableEntity, "the protocol can't change")
}

// A webhook may set intentions only where the caller might.
func TestWebhooks_IntentionsNeedTheCallersRight(t *testing.T) {
	b := newBench(t)
	b.nomad.Guard("other", "hello")
	b.with(t, webhook.Config{Name: "policy", Mutate: true}, patch(
		`{"op": "add", "path": "/service/network", "value": "bridge"}`, `{"op": "add", "path": "/service/mesh", "value": "envoy"}`,
		`{"op": "add", "path": "/service/intentions", "value": {"allow": ["*"]}}`))
	b.refused(t, request(spec("hello", "/bin/a")), http.StatusForbidden, "intentions in Consul")
}

func TestRules(t *testing.T) {
	b := newBench(t)
	b.set(func(s *admission.Settings) {
		s.Rules = rules.Rules{Meta: []string{"team"}, Drivers: []string{"docker"}}
	})
	b.refused(t, request(spec("hello", "/bin/a")), http.StatusUnprocessableEntity,
		`a.hcl:1,1: meta: this cluster requires the key "team"`, `a.hcl:7,16: instance.task.web.driver: the driver "raw_exec" is not allowed`)
	b.untouched(t)
	// They judge what mutating webhooks make.
	b.with(t, webhook.Config{Name: "policy", Mutate: true}, patch(
		`{"op": "add", "path": "/service/meta/team", "value": "a"}`, `{"op": "replace", "path": "/instance/Tasks/0/Driver", "value": "docker"}`))
	b.submit(t, request(spec("hello", "/bin/a")))
}
