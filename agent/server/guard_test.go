package server_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/admissiontest"
	"github.com/wadi-run/wadi/agent/server"
	"github.com/wadi-run/wadi/api"
)

func TestGuard_PagesOfOtherSites(t *testing.T) {
	for _, tt := range []struct {
		name   string
		method string
		header []string
		status int
	}{
		{"another site, new browser", "PUT", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"another port, new browser", "DELETE", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"another site, old browser", "PUT", []string{"Origin", "https://evil.example"}, 403},
		{"a file", "PUT", []string{"Origin", "null"}, 403},
		{"a form", "POST", []string{"Origin", "https://evil.example", "Content-Type", "text/plain"}, 403},
		{"rebound name", "GET", []string{"Host", "evil.example"}, 403},
		{"rebound name with port", "PUT", []string{"Host", "evil.example:4747"}, 403},
		{"rebound name like localhost", "GET", []string{"Host", "localhost.evil.example"}, 403},
		{"address of another machine", "GET", []string{"Host", "192.0.2.1"}, 403},
		{"localhost", "GET", []string{"Host", "localhost:4747"}, 200},
		{"IPv6 loopback", "GET", []string{"Host", "[::1]:4747"}, 200},
		{"a name that was allowed", "GET", []string{"Host", "wadi.internal"}, 200},
		{"no browser", "GET", nil, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, func(c *server.Config) { c.AllowedHosts = []string{"wadi.internal"} })
			path := "/v1/services"
			if tt.method == "POST" {
				path = "/v1/services/validate"
			} else if tt.method == "DELETE" {
				path = "/v1/service/hello"
			}
			b.ask(t, tt.method, path, submission(hello), tt.header...).want(t, tt.status)
			if jobs := b.nomad.Jobs(); len(jobs) > 0 {
				t.Errorf("something was registered: %v", jobs)
			}
		})
	}
}

func TestRights(t *testing.T) {
	b := newBench(t, nil)
	b.nomad.Allow("writer", admissiontest.Grant{Submit: []string{"default"}})
	b.nomad.Allow("reader", admissiontest.Grant{Read: []string{"default"}})
	b.nomad.Allow("stranger", admissiontest.Grant{Submit: []string{"other"}})
	token := func(name string) []string { return []string{"X-Nomad-Token", name} }

	b.ask(t, "PUT", "/v1/services", submission(hello), token("reader")...).want(t, 403, "permission denied")
	a := b.ask(t, "PUT", "/v1/services", submission(hello))
	a.want(t, 401, "X-Nomad-Token")
	if a.header.Get("WWW-Authenticate") == "" {
		t.Error("no WWW-Authenticate")
	}
	b.ask(t, "PUT", "/v1/services", submission(hello), "Authorization", "Bearer writer").want(t, 200)
	if calls := fmt.Sprint(b.nomad.Calls()); calls != "[register hello-00001 writer]" {
		t.Errorf("calls %s", calls)
	}
	b.ask(t, "GET", "/v1/services", "", token("reader")...).want(t, 200, "hello")
	if a := b.ask(t, "GET", "/v1/services", "", token("stranger")...); strings.Contains(a.body, "hello") {
		t.Errorf("a stranger sees %s", a.body)
	}
	for _, path := range []string{"/v1/service/hello", "/v1/service/hello/revisions", "/v1/revision/hello-00001",
		"/v1/service/hello/decisions", "/v1/events?service=hello"} {
		b.ask(t, "GET", path, "", token("stranger")...).want(t, 404)
		b.ask(t, "GET", path, "").want(t, 401)
	}
	b.ask(t, "DELETE", "/v1/service/hello", "", token("reader")...).want(t, 403)
	b.ask(t, "DELETE", "/v1/service/hello", "", token("writer")...).want(t, 202)
}

func TestTokensAreNotLogged(t *testing.T) {
	b := newBench(t, nil)
	b.nomad.Allow("s3cr3t-nomad", admissiontest.Grant{})
	for _, body := range []string{submission(hello), "{"} {
		b.ask(t, "PUT", "/v1/services?token=s3cr3t-query", body,
			"X-Nomad-Token", "s3cr3t-nomad", "X-Consul-Token", "s3cr3t-consul", "Authorization", "Bearer s3cr3t-bearer")
	}
	b.nomad.Fail(fmt.Errorf("boom"))
	b.ask(t, "GET", "/v1/services", "", "X-Nomad-Token", "s3cr3t-nomad")
	if log := b.log.String(); strings.Contains(log, "s3cr3t") || !strings.Contains(log, "/v1/services") {
		t.Errorf("log:\n%s", log)
	}
}

func TestAuthNone(t *testing.T) {
	b := newBench(t, func(c *server.Config) { c.Auth = wadi.AuthNone })
	b.want(t, 200, "PUT", "/v1/services", submission(hello))
	b.nomad.Allow("somebody", admissiontest.Grant{})
	b.want(t, 200, "GET", "/v1/service/hello", "")
	b.want(t, 202, "DELETE", "/v1/service/hello", "")
}

func TestAdmin(t *testing.T) {
	admin := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	b := newBench(t, func(c *server.Config) { c.Admin = admin })
	for _, path := range []string{"/v1/admin/live", "/debug/pprof/heap"} {
		if a := b.ask(t, "GET", path, ""); a.status != 204 {
			t.Errorf("%s from here: %d", path, a.status)
		}
		b.ask(t, "GET", path, "", "X-Forwarded-For", "192.0.2.7").want(t, 401)
	}
	b.nomad.Allow("alice", admissiontest.Grant{}) // Nomad has ACLs now: a job in the machine's network is a caller from here.
	for _, path := range []string{"/v1/admin/live", "/debug/pprof/heap"} {
		b.ask(t, "GET", path, "").want(t, 401, "agent:write")
		b.ask(t, "GET", path, "", "X-Nomad-Token", "alice").want(t, 403)
	}
	nomad, store := &admissiontest.Nomad{}, &admissiontest.Store{}
	adm, _ := admissiontest.New(nomad, store, nil)
	s, err := server.New(server.Config{Self: api.Self{Name: "one"}, Admission: adm, Store: store, Rights: nomad, Admin: admin})
	if err != nil {
		t.Fatal(err)
	}
	for remote, want := range map[string]int{"127.0.0.1:1": 204, "[::1]:1": 204, "192.0.2.7:1": 401, "nonsense": 401} {
		r := httptest.NewRequest("GET", "/debug/pprof/heap", nil)
		r.RemoteAddr = remote
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("from %s: %d, want %d", remote, w.Code, want)
		}
	}
}

func TestRequestsAreCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	b := newBench(t, func(c *server.Config) { c.Registerer = reg })
	b.ask(t, "GET", "/v1/service/a", "")
	b.ask(t, "GET", "/v1/service/b", "")
	b.ask(t, "GET", "/whatever/else", "")
	want := `# HELP wadi_api_requests_total Requests answered by the HTTP API.
# TYPE wadi_api_requests_total counter
wadi_api_requests_total{code="404",route="GET /v1/service/{name}"} 2
wadi_api_requests_total{code="404",route="other"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

// event is one about a service.
func event(service, message string) wadi.Event {
	return wadi.Event{Service: service, Type: "Test", Message: message}
}

// A listener that other machines reach is called by an address or by a name that is the
// agent's: any other name in a browser may be a page's that has been pointed here.
func TestGuard_Hosts(t *testing.T) {
	_, s := newUnserved(t, func(c *server.Config) {
		c.AllowedHosts = []string{"wadi.internal"}
		c.HasName = func(host string) bool { return host == "one.example.com" }
	})
	for _, listener := range []string{"10.0.0.1", "127.0.0.1"} {
		outside := listener == "10.0.0.1"
		for host, allowed := range map[string]bool{
			"10.0.0.1:4747": outside, "[2001:db8::1]:4747": outside, "203.0.113.9": outside,
			"127.0.0.1:4747": true, "localhost": true, "LOCALHOST.:4747": true, "": true,
			"wadi.internal:4747": true, "Wadi.Internal": true, "one.example.com": true,
			"evil.example": false, "evil.example:4747": false, "wadi.internal.evil.example": false,
			"10.0.0.1.evil.example": false, "0x7f.1": false, "2130706433": false, "[]": false, ".": false, "127.0.0.1:4747:4747": false, "127.0.0.1:4747.evil.example": false,
		} {
			r := httptest.NewRequest("GET", "/v1/agent/health", nil)
			r.Host = host
			r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.ParseIP(listener), Port: 4747})))
			w := httptest.NewRecorder()
			if s.Handler().ServeHTTP(w, r); (w.Code == 200) != allowed {
				t.Errorf("Host %q at %s: got %d, want allowed: %t", host, listener, w.Code, allowed)
			}
		}
	}
}
