package server_test

import (
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
	"github.com/wadi-run/wadi/agent/server"
)

// The load of a service is what is stored, and what the leader has not stored yet; for
// callers that may read the service.
func TestServer_Load(t *testing.T) {
	leads := false
	b := newBench(t, func(c *server.Config) {
		c.AddLoad = func(_ string, h wadi.LoadHistory) wadi.LoadHistory {
			if leads {
				return h.With(11, 12, []wadi.LoadMinute{{Minute: 11, Requests: 5}})
			}
			return h
		}
	})
	b.want(t, 404, "GET", "/v1/service/hello/load", "")
	b.want(t, 200, "PUT", "/v1/services", submission(hello))
	b.want(t, 200, "GET", "/v1/service/hello/load", "", `{"begin":0,"concurrency":[],"peak":[],"requests":[],"peak_rate":[]}`)
	b.store.SetLoadHistory("hello", wadi.LoadHistory{}.With(10, 11, nil))
	b.want(t, 200, "GET", "/v1/service/hello/load", "", `"begin":600`, `"requests":[0]`)
	leads = true
	b.want(t, 200, "GET", "/v1/service/hello/load", "", `"requests":[0,5]`)

	b.store.SetLoadHistory("hello", wadi.LoadHistory{Requests: []float64{1}})
	b.want(t, 500, "GET", "/v1/service/hello/load", "", "not understood")
	b.nomad.Allow("bob", admissiontest.Grant{Read: []string{"other"}})
	b.ask(t, "GET", "/v1/service/hello/load", "", "X-Nomad-Token", "bob").want(t, 404)
	b.nomad.Allow("bob", admissiontest.Grant{Read: []string{"default"}})
	b.store.SetLoadHistory("hello", wadi.LoadHistory{}.With(10, 11, nil))
	b.ask(t, "GET", "/v1/service/hello/load", "", "X-Nomad-Token", "bob").want(t, 200, `"requests":[0,5]`)
}

// A plan is bounded and judged as a submission is.
func TestServer_Plan(t *testing.T) {
	b := newBench(t, nil)
	b.want(t, 200, "POST", "/v1/services/plan", submission(hello), `"changed":true`, `"new_revision":true`, `"kind":"added"`)
	b.want(t, 400, "POST", "/v1/services/plan", `{"files": [], "unknown": 1}`)
	b.want(t, 400, "POST", "/v1/services/plan", submission("service"))
	b.want(t, 404, "GET", "/v1/service/hello", "")
	b.nomad.Allow("bob", admissiontest.Grant{Blind: []string{"default"}})
	b.ask(t, "POST", "/v1/services/plan", submission(hello), "X-Nomad-Token", "bob").want(t, 403, "read-job")
	b.ask(t, "POST", "/v1/services/plan", submission(hello)).want(t, 401)
}
