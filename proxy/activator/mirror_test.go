package activator_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/activator"
)

// serveCopy has a copy of a request served, as the gateway does.
func (g *rig) serveCopy(t *testing.T, id string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	r.Proto, r.ProtoMajor = "HTTP/2.0", 2
	r.Header.Set(wadi.HeaderMirror, "1")
	w := httptest.NewRecorder()
	g.act.ServeRevision(w, r, service, id)
	return w
}

// A copy of a request gets to an instance as such, wakes its revision and counts as its load,
// and is in no statistics of what callers got.
func TestServeRevision_Copies(t *testing.T) {
	g := newRig(t, settings())
	b := newBackend(t, "alloc-1")
	g.set(func(c *cluster) { c.onWake = func(string) { c.place(b.ep) } })
	if w := g.serveCopy(t, revision); w.Code != 200 {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	if got := b.requests[0].Header.Get(wadi.HeaderMirror); got != "1" || b.requests[0].Header.Get(wadi.HeaderProxied) == "" {
		t.Errorf("the instance got %v", b.requests[0].Header)
	}
	if g.woken(revision) == 0 || len(g.act.Recorders()) != 1 {
		t.Errorf("woken %d times, %d revisions have a load", g.woken(revision), len(g.act.Recorders()))
	}
	if w := g.serveCopy(t, "hello-00009"); w.Code != 404 || w.Header().Get(activator.HeaderError) != activator.CodeNoRevision {
		t.Errorf("of a revision that is gone: %d %v", w.Code, w.Header())
	}
	failed := routes(settings(), wadi.HTTP1)
	set := settings()
	set.Failed = "no such image"
	failed[service].Revisions[revision] = set
	g.act.SetRoutes(failed)
	if w := g.serveCopy(t, revision); w.Code != 503 {
		t.Errorf("of a failed revision: %d", w.Code)
	}
	for _, metric := range []string{"wadi_activator_requests_total", "wadi_activator_refusals_total", "wadi_activator_request_duration_seconds"} {
		if n := g.gauge(t, metric); n != 0 {
			t.Errorf("%s is %v, want 0", metric, n)
		}
	}
}

// A caller in the mesh can't make its requests pass for copies.
func TestMeshHandler_IsNoCopy(t *testing.T) {
	g := newRig(t, settings())
	b := newBackend(t, "alloc-1")
	g.place(b.ep)
	g.srv.Config.Handler = g.act.MeshHandler(allowAll{})
	r := g.request(t, http.MethodGet, "/", nil)
	r.Header.Set(wadi.HeaderService, service)
	r.Header.Set(wadi.HeaderRevision, revision)
	r.Header.Set(wadi.HeaderMirror, "1")
	if got := g.do(r); got.status != 200 {
		t.Fatalf("got %v", got)
	}
	if b.requests[0].Header[wadi.HeaderMirror] != nil || g.gauge(t, "wadi_activator_requests_total") != 1 {
		t.Errorf("it passes for a copy: %v", b.requests[0].Header)
	}
}
