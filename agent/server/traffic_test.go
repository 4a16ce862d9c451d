package server_test

import (
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
)

func TestTraffic_OverHTTP(t *testing.T) {
	b := newBench(t, nil)
	const path = "/v1/service/hello/traffic"
	b.want(t, 404, "PUT", path, `{"targets":[{"revision":"latest"}]}`, "not found")
	b.want(t, 200, "PUT", "/v1/services", submission(hello))
	b.want(t, 200, "PUT", path, `{"targets":[{"revision":"latest","percent":60},{"revision":"hello-00001","percent":40,"tag":"one"}]}`,
		`"changed":true`, `"before":[{"revision":"latest","percent":100}]`, `"tag":"one"`, `"generation":2`)
	b.want(t, 200, "GET", "/v1/service/hello", "", `"traffic_order":{"at":`, `"applied":1`)
	b.want(t, 200, "PUT", path, `{"targets":[{"revision":"latest"}]}`, `"percent":100`)
	b.want(t, 409, "PUT", path, `{"targets":[{"revision":"hello-00001"}],"check_index":1}`, "check_index is 1, but the stored index is 3")
	b.want(t, 200, "PUT", path, `{"targets":[{"revision":"hello-00001"}],"check_index":3}`, `"changed":true`)
	b.want(t, 409, "PUT", "/v1/service/hello/rollback", `{}`, "no revision of hello has traffic yet")
	b.want(t, 409, "PUT", "/v1/service/hello/rollout", `{"action":"pause"}`, "no rollout of hello is under way")
	b.store.SetStatus(wadi.Status{Service: "hello", Rollout: &wadi.RolloutStatus{Phase: wadi.RolloutStepping, Revision: "hello-00001"}})
	b.want(t, 200, "PUT", "/v1/service/hello/rollout", `{"action":"pause"}`, `"revision":"hello-00001"`, `"changed":true`)
	b.want(t, 200, "GET", "/v1/service/hello", "", `"rollout_order":{"action":"pause","revision":"hello-00001"`)
}

func TestTraffic_BadBodies(t *testing.T) {
	b := newBench(t, nil)
	b.want(t, 200, "PUT", "/v1/services", submission(hello))
	for _, tt := range []struct {
		name, path, body string
		status           int
		text             string
	}{
		{"empty", "traffic", ``, 400, "empty"},
		{"null", "traffic", `null`, 400, "not a JSON object"},
		{"no targets", "traffic", `{}`, 400, "targets"},
		{"a list", "traffic", `[]`, 400, "not a JSON object"},
		{"unknown key", "traffic", `{"target":[]}`, 400, "unknown field"},
		{"unknown key of a target", "traffic", `{"targets":[{"revision":"latest","weight":1}]}`, 400, "unknown field"},
		{"text for a percent", "traffic", `{"targets":[{"revision":"latest","percent":"100"}]}`, 400, "not the JSON"},
		{"huge percent", "traffic", `{"targets":[{"revision":"latest","percent":1e999}]}`, 400, "not the JSON"},
		{"negative index", "traffic", `{"targets":[{"revision":"latest"}],"check_index":-1}`, 400, "not the JSON"},
		{"long revision", "traffic", `{"targets":[{"revision":"` + strings.Repeat("x", 2000) + `"}]}`, 400, "at most 1024 bytes"},
		{"another service's revision", "traffic", `{"targets":[{"revision":"other-00001"}]}`, 400, "no revision of this service"},
		{"too large", "traffic", `{"targets":[{"revision":"` + strings.Repeat("x", 20<<10) + `"}]}`, 413, "more than 16384 bytes"},
		{"many", "traffic", `{"targets":[` + strings.Repeat(`{"revision":"latest"},`, 500) + `{"revision":"latest"}]}`, 400, "at most 32"},
		{"unknown revision", "rollback", `{"to":"hello-00009"}`, 422, "hello-00009"},
		{"no revision", "rollback", `{"to":"../x"}`, 422, "there is no revision"},
		{"unknown action", "rollout", `{"action":"stop"}`, 400, "is not one of"},
		{"no action", "rollout", `{}`, 400, "is not one of"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.want(t, tt.status, "PUT", "/v1/service/hello/"+tt.path, tt.body, tt.text)
		})
	}
	if _, index, _ := b.store.Spec(t.Context(), "hello"); index != 1 {
		t.Errorf("something was stored: index %d", index)
	}
}

// They take the right to submit, and say so to a caller that may read the service.
func TestTraffic_Rights(t *testing.T) {
	b := newBench(t, nil)
	b.nomad.Allow("alice", admissiontest.Grant{Submit: []string{"default"}})
	b.nomad.Allow("bob", admissiontest.Grant{Read: []string{"default"}})
	b.ask(t, "PUT", "/v1/services", submission(hello), "X-Nomad-Token", "alice").want(t, 200)
	for path, body := range map[string]string{"traffic": `{"targets":[{"revision":"hello-00001"}]}`, "rollback": `{}`, "rollout": `{"action":"pause"}`} {
		b.ask(t, "PUT", "/v1/service/hello/"+path, body, "X-Nomad-Token", "bob").want(t, 403, `change in namespace`)
	}
	b.ask(t, "PUT", "/v1/service/hello/traffic", `{"targets":[{"revision":"hello-00001"}]}`, "X-Nomad-Token", "alice").want(t, 200)
}
