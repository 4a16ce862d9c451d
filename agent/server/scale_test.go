package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
	"github.com/wadi-run/wadi/agent/server"
)

func TestScale_Hold(t *testing.T) {
	b := newBench(t, func(c *server.Config) { c.MaxInstances = 20 })
	const path = "/v1/service/hello/scale"
	b.want(t, 404, "PUT", path, `{"count":5,"for":"10m"}`, "not found")
	b.want(t, 200, "PUT", "/v1/services", submission(hello))
	b.want(t, 200, "PUT", path, `{"count":5,"for":"10m"}`, `"count":5`, `"until":"2`, `"service":"hello"`)
	b.want(t, 200, "GET", "/v1/service/hello", "", `"overrides":{"":{"count":5,`)
	b.want(t, 200, "PUT", path, `{"count":0,"for":"1s","revision":"hello-00001"}`, `"count":0`, "a request wakes the service all the same")
	b.want(t, 200, "PUT", path, `{}`, `"override":null`)
	if a := b.ask(t, "GET", "/v1/service/hello", ""); strings.Contains(a.body, `"":{"count":5`) {
		t.Errorf("an override that was ended is shown: %s", a.body)
	}
	b.want(t, 400, "PUT", path, `{"count":5,"for":"0s"}`, "for how long")
}

func TestScale_RefusesWhatCantBeHeld(t *testing.T) {
	b := newBench(t, func(c *server.Config) { c.MaxInstances = 20 })
	b.want(t, 200, "PUT", "/v1/services", submission(hello))
	for _, tt := range []struct {
		name, body string
		status     int
		text       string
	}{
		{"above the agent's bound", `{"count":21,"for":"10m"}`, 400, "between 0 and 20 (limits.max_instances"},
		{"negative", `{"count":-1,"for":"10m"}`, 400, "between 0 and 20"},
		{"without a count", `{"for":"10m"}`, 400, "count is missing"},
		{"without a time", `{"count":5}`, 400, "for how long"},
		{"too short", `{"count":5,"for":"1ms"}`, 400, "not between 1s and"},
		{"negative time", `{"count":5,"for":"-1m"}`, 400, "not between"},
		{"too long", `{"count":5,"for":"1000000h"}`, 400, "not between"},
		{"time that is none", `{"count":5,"for":"soon"}`, 400, "not the JSON"},
		{"fraction", `{"count":1.5,"for":"1m"}`, 400, "not the JSON"},
		{"huge", `{"count":99999999999999999999,"for":"1m"}`, 400, "not the JSON"},
		{"unknown key", `{"counts":5,"for":"1m"}`, 400, "unknown field"},
		{"unknown revision", `{"count":5,"for":"1m","revision":"hello-00009"}`, 404, "hello-00009"},
		{"somebody else's revision", `{"count":5,"for":"1m","revision":"../x"}`, 404, "not found"},
		{"empty", ``, 400, "empty"},
		{"too large a body", `{"revision":"` + strings.Repeat("x", 8<<10) + `"}`, 413, "more than 4096 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.want(t, tt.status, "PUT", "/v1/service/hello/scale", tt.body, tt.text)
		})
	}
	if h, _ := b.store.Overrides(t.Context(), "hello"); len(h) != 0 {
		t.Errorf("overridden all the same: %v", h)
	}
	b.want(t, 404, "PUT", "/v1/service/..%2Fx/scale", `{"count":5,"for":"1m"}`)
}

// A count of what gets no instances is not set, and the answer says what to do.
func TestScale_RefusesWhatHasNoJob(t *testing.T) {
	b := newBench(t, nil)
	for _, command := range []string{"/bin/a", "/bin/b"} {
		b.want(t, 200, "PUT", "/v1/services", submission(strings.Replace(hello, "/bin/a", command, 1)))
	}
	const path = "/v1/service/hello/scale"
	b.store.SetState("hello", wadi.State{Revisions: map[string]wadi.RevisionState{
		"hello-00001": {Phase: wadi.Retired}, "hello-00002": {Phase: wadi.Failed, Reason: "no database"},
	}})
	b.store.SetRoute(wadi.Route{Service: "hello", Targets: []wadi.RouteTarget{{Revision: "hello-00002", Weight: wadi.WeightAll}}})
	b.want(t, 409, "PUT", path, `{"count":1,"for":"1m"}`, "hello-00002 has failed and gets no instances: no database; apply its file again")
	b.want(t, 409, "PUT", path, `{"count":1,"for":"1m","revision":"hello-00002"}`, "has failed")
	b.want(t, 409, "PUT", path, `{"count":1,"for":"1m","revision":"hello-00001"}`, "no traffic goes to hello-00001", "give it traffic or a tag")
	b.want(t, 200, "PUT", path, `{}`, `"override":null`)
	// Submitted again, it is on its way.
	b.want(t, 200, "PUT", "/v1/services", submission(strings.Replace(hello, "/bin/a", "/bin/b", 1)), `"retried":["hello-00002"]`)
	b.want(t, 200, "PUT", path, `{"count":1,"for":"1m"}`, `"count":1`)
}

// The service's own bound counts where it is lower than the agent's.
func TestScale_OwnBound(t *testing.T) {
	b := newBench(t, func(c *server.Config) { c.MaxInstances = 20 })
	b.want(t, 200, "PUT", "/v1/services", submission(strings.Replace(hello, "  instance {", "  scale {\n    max = 3\n  }\n  instance {", 1)))
	b.want(t, 400, "PUT", "/v1/service/hello/scale", `{"count":4,"for":"10m"}`, "between 0 and 3 (scale.max of hello)")
	b.want(t, 200, "PUT", "/v1/service/hello/scale", `{"count":3,"for":"10m"}`)
}

// The right to read a service does not include the right to scale it.
func TestScale_Rights(t *testing.T) {
	b := newBench(t, nil)
	b.want(t, 200, "PUT", "/v1/services", submission(hello))
	b.nomad.Allow("reader", admissiontest.Grant{Read: []string{"default"}})
	b.nomad.Allow("scaler", admissiontest.Grant{Submit: []string{"default"}})
	const body = `{"count":5,"for":"10m"}`
	for token, want := range map[string]int{"": 401, "reader": 403, "scaler": 200} {
		if a := b.ask(t, "PUT", "/v1/service/hello/scale", body, "X-Nomad-Token", token); a.status != want {
			t.Errorf("token %q: got %d %s, want %d", token, a.status, a.body, want)
		}
	}
	h, err := b.store.Overrides(t.Context(), "hello")
	if err != nil || h[""].Count != 5 || h[""].By != "alice" {
		t.Errorf("got %+v (%v), want 5, asked for by alice", h, err)
	}
	if a := b.ask(t, "PUT", "/v1/service/hello/scale", body, "X-Nomad-Token", "scaler", "Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site"); a.status != http.StatusForbidden {
		t.Errorf("another site's page: got %d, want 403", a.status)
	}
}
