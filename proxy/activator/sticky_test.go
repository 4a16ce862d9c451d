package activator_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/activator"
)

// newSticky starts two revisions, of which the newer, the second, has some of the traffic.
func newSticky(t *testing.T, weight int, s *wadi.Sticky) (g *rig, ask func(headers ...string) answer) {
	t.Helper()
	g = newRig(t, settings())
	g.act.SetRoutes(stickyRoutes(weight, s))
	for _, id := range []string{"hello-00001", "hello-00002"} {
		b := newBackend(t, "alloc-of-"+id)
		b.ep.Revision = id
		b.app = func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header.Get(wadi.HeaderRevision)) }
		g.placeRevision(id, b.ep)
	}
	g.srv.Config.Handler = g.act.MeshHandler(allowAll{})
	return g, func(headers ...string) answer {
		t.Helper()
		r := g.request(t, http.MethodGet, "/", nil)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Add(headers[i], headers[i+1])
		}
		return g.do(r)
	}
}

func stickyRoutes(weight int, s *wadi.Sticky) map[string]wadi.Route {
	all := routes(settings(), wadi.HTTP1)
	route := all[service]
	route.Sticky = s
	route.Targets = []wadi.RouteTarget{{Revision: "hello-00001", Weight: wadi.WeightAll - weight}, {Revision: "hello-00002", Weight: weight}}
	route.Revisions["hello-00002"] = settings()
	all[service] = route
	return all
}

// Calls that name no revision go to that of their user, as at the gateway, and are counted
// once.
func TestMeshHandler_Sticky(t *testing.T) {
	const weight = 3000
	g, ask := newSticky(t, weight, &wadi.Sticky{Header: "x-user-id"})
	calls := 0
	for i := range 40 {
		user := fmt.Sprint("user-", i)
		want := "hello-00001"
		if b, _ := wadi.BucketOf(service, []string{user}); b < weight {
			want = "hello-00002"
		}
		for range 2 {
			calls++
			if got := ask(wadi.HeaderService, service, "X-User-ID", user); got.body != want {
				t.Fatalf("%s: got %v, want %s", user, got, want)
			}
		}
	}
	if n := g.gauge(t, "wadi_activator_requests_total"); int(n) != calls {
		t.Errorf("%v calls are counted, want %d", n, calls)
	}
	// A revision that is named comes first, as of a tag's route.
	if got := ask(wadi.HeaderService, service, wadi.HeaderRevision, "hello-00002", "X-User-ID", userOf(t, weight, false)); got.body != "hello-00002" {
		t.Errorf("a named revision: got %v", got)
	}
}

// userOf finds a user of the newer revision, or of the older one.
func userOf(t *testing.T, weight int, newer bool) string {
	t.Helper()
	for i := range 10_000 {
		user := fmt.Sprint("user-", i)
		if b, _ := wadi.BucketOf(service, []string{user}); (b < weight) == newer {
			return user
		}
	}
	t.Fatal("there is no such user")
	return ""
}

// Where the header is no user's, and where the setting is gone before Envoys know, the calls
// are split by weight. No call fails.
func TestMeshHandler_StickyWithoutAUser(t *testing.T) {
	for name, s := range map[string]*wadi.Sticky{"sticky": {Header: "X-User-ID"}, "a cookie only": {Cookie: "b"}, "not any more": nil} {
		g, ask := newSticky(t, 5000, s)
		got := map[string]int{}
		for range 30 {
			for _, headers := range [][]string{{}, {"X-User-ID", ""}, {"X-User-ID", "a", "X-User-ID", "a"}, {"X-User-ID", strings.Repeat("x", 300)}} {
				got[ask(append(headers, wadi.HeaderService, service)...).body]++
			}
		}
		if len(got) != 2 || got["hello-00001"] == 0 || got["hello-00002"] == 0 {
			t.Errorf("%s: got %v", name, got)
		}
		if n := testutil.CollectAndCount(g.reg, "wadi_activator_refusals_total"); n != 0 {
			t.Errorf("%s: %d kinds of refusals", name, n)
		}
	}
}

// A caller that leaves the revision out is judged as any other, before anything is done.
func TestMeshHandler_StickyIsAuthorized(t *testing.T) {
	g, ask := newSticky(t, 5000, &wadi.Sticky{Header: "X-User-ID"})
	gate := &gate{caller: "web", err: wadi.ErrForbidden}
	g.srv.Config.Handler = g.act.MeshHandler(gate)
	if got := ask(wadi.HeaderService, service, "X-User-ID", "alice"); got.status != 403 || got.header.Get(activator.HeaderError) != activator.CodeDenied {
		t.Errorf("got %v", got)
	}
	if len(gate.asked) != 1 || gate.asked[0] != "web to hello " {
		t.Errorf("asked %q", gate.asked)
	}
}

// At zero such a call wakes the revision of its user, and waits for it.
func TestMeshHandler_StickyWakes(t *testing.T) {
	g := newRig(t, settings())
	g.act.SetRoutes(stickyRoutes(5000, &wadi.Sticky{Header: "X-User-ID"}))
	b := newBackend(t, "alloc-1")
	b.ep.Revision = "hello-00002"
	g.set(func(c *cluster) { c.onWake = func(revision string) { c.placeRevision(revision, b.ep) } })
	g.srv.Config.Handler = g.act.MeshHandler(allowAll{})
	r := g.request(t, http.MethodGet, "/", nil)
	r.Header.Set(wadi.HeaderService, service)
	r.Header.Set("X-User-ID", userOf(t, 5000, true))
	if got := g.do(r); got.status != 200 || got.body != "alloc-1" {
		t.Errorf("got %v", got)
	}
	if g.woken("hello-00001") != 0 || g.woken("hello-00002") == 0 {
		t.Errorf("woken: %v", g.wakes)
	}
}

// Of a service without a share of the traffic there is no revision to choose.
func TestMeshHandler_StickyNoTarget(t *testing.T) {
	g, ask := newSticky(t, 5000, &wadi.Sticky{Header: "X-User-ID"})
	all := stickyRoutes(5000, nil)
	route := all[service]
	route.Targets = []wadi.RouteTarget{{Revision: "hello-00001", Tag: "old"}}
	all[service] = route
	g.act.SetRoutes(all)
	wantRefusal(t, ask(wadi.HeaderService, service), 503, "unknown_revision", "names no service and revision")
}
