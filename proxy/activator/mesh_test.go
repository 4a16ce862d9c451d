package activator_test

import (
	"maps"
	"net/http"
	"testing"

	"github.com/wadi-run/wadi"
)

func TestMeshHandler_Deleted(t *testing.T) {
	g := newRig(t, settings())
	g.srv.Config.Handler = g.act.MeshHandler(allowAll{})
	ask := func(headers ...string) answer {
		t.Helper()
		r := g.request(t, http.MethodGet, "/", nil)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		return g.do(r)
	}
	deleted := routes(settings(), wadi.HTTP1)
	route := deleted[service]
	route.Targets = nil
	deleted[service] = route
	g.act.SetRoutes(deleted)
	wantRefusal(t, ask(wadi.HeaderService, service), 404, "unknown_revision", "service hello is deleted")
	wantRefusal(t, ask(wadi.HeaderService, service, wadi.HeaderRevision, revision), 404, "unknown_revision", "service hello is deleted")
	g.act.SetRoutes(nil)
	wantRefusal(t, ask(wadi.HeaderService, service, wadi.HeaderRevision, revision), 503, "unknown_revision", "it is gone, or this agent does not know it yet")
}

func TestMeshHandler(t *testing.T) {
	g := newRig(t, settings())
	b := newBackend(t, "alloc-1")
	g.place(b.ep)
	g.srv.Config.Handler = g.act.MeshHandler(allowAll{})
	for _, tt := range []struct {
		service, revision string
		status            int
	}{
		{service, revision, 200}, {"", "", 503}, {"other", "", 503}, {"", revision, 503}, {"other", revision, 503}, {service, "hello-00009", 503},
	} {
		r := g.request(t, http.MethodGet, "/", nil)
		r.Header.Set(wadi.HeaderService, tt.service)
		r.Header.Set(wadi.HeaderRevision, tt.revision)
		got := g.do(r)
		if got.status != tt.status {
			t.Errorf("%q %q: got %v, want %d", tt.service, tt.revision, got, tt.status)
		}
		if after := got.header.Get("Retry-After"); got.status != 200 && (after != "1" || got.header.Get("Wadi-Error") != "unknown_revision") {
			t.Errorf("%q %q: come again after %q: %v", tt.service, tt.revision, after, got.header)
		}
	}
}

// A mesh caller's Envoy names the redirect that a request meets. Nobody is woken for it.
func TestMeshHandler_Redirects(t *testing.T) {
	g := newRig(t, settings())
	g.srv.Config.Handler = g.act.MeshHandler(allowAll{})
	g.srv.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	redirecting := routes(settings(), wadi.HTTP1)
	route := redirecting[service]
	route.Rules = []wadi.RouteRule{
		{Name: "v2", Match: wadi.RuleMatch{PathPrefix: "/v2"}, Revision: revision},
		{Name: "old", Match: wadi.RuleMatch{PathPrefix: "/old/"}, PrefixRewrite: "/", Redirect: &wadi.Redirect{Code: 308}},
	}
	redirecting[service] = route
	g.act.SetRoutes(redirecting)
	for _, tt := range []struct {
		service, name, path, method string
		status                      int
		location                    string
	}{
		{service, "old", "/old/x?q=1", "GET", 308, "/x?q=1"},
		{service, "old", "/old//evil.example/", "POST", 308, "/evil.example/"},
		{service, "old", "/elsewhere", "GET", 308, "/elsewhere"}, // The rule has changed since Envoy looked.
		{service, "v2", "/v2/x", "GET", 503, ""},
		{service, "nosuch", "/old/x", "GET", 503, ""},
		{"other", "old", "/old/x", "GET", 503, ""},
	} {
		r := g.request(t, tt.method, tt.path, nil)
		r.Header.Set(wadi.HeaderService, tt.service)
		r.Header.Set(wadi.HeaderRoute, tt.name)
		got := g.do(r)
		if got.status != tt.status || got.header.Get("Location") != tt.location {
			t.Errorf("%s %s %s: got %v %v, want %d %s", tt.service, tt.name, tt.path, got, got.header, tt.status, tt.location)
		}
	}
	if n := g.woken(revision); n != 0 {
		t.Errorf("%d wakes", n)
	}
	redirecting = maps.Clone(redirecting)
	route.Targets = nil
	redirecting[service] = route
	g.act.SetRoutes(redirecting)
	r := g.request(t, http.MethodGet, "/old/x", nil)
	r.Header.Set(wadi.HeaderService, service)
	r.Header.Set(wadi.HeaderRoute, "old")
	wantRefusal(t, g.do(r), 404, "unknown_revision", "service hello is deleted")
}
