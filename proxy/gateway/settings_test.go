package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/gateway"
)

// With another domain services answer under their new names, and no longer under the old
// ones, also after routes that come later; custom domains stay.
func TestSet_Domain(t *testing.T) {
	g, _ := newGateway(t, someRoutes())
	status := func(host string) int {
		w := httptest.NewRecorder()
		g.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://"+host+"/", nil))
		return w.Code
	}
	g.Set(gateway.Settings{Domain: "other.test"})
	for range 2 {
		for host, want := range map[string]int{"hello.other.test": 200, "hello.wadi.localhost": 404, "hello.example.com": 200, "secret.other.test": 404} {
			if got := status(host); got != want {
				t.Errorf("%s: %d, want %d", host, got, want)
			}
		}
		if ok, why := g.Serves(someRoutes()["hello"]); !ok {
			t.Error(why)
		}
		if conflicts := g.SetRoutes(someRoutes()); len(conflicts) > 0 {
			t.Error(conflicts)
		}
	}
}

// A table that was set as such stays: it has its own hosts.
func TestSet_SameDomainKeepsTheTable(t *testing.T) {
	g, _ := newGateway(t, nil)
	table, _ := gateway.BuildTable(map[string]wadi.Route{"a": route("a", wadi.RouteTarget{Revision: "a-00001", Weight: 10000})}, "wadi.localhost")
	g.SetTable(table)
	g.Set(gateway.Settings{Domain: "wadi.localhost"})
	w := httptest.NewRecorder()
	if g.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://a.wadi.localhost/", nil)); w.Code != 200 {
		t.Errorf("got %d", w.Code)
	}
}

// A proxy is believed from the moment that it is trusted, and no longer than that.
func TestSet_TrustedProxies(t *testing.T) {
	g, c := newGateway(t, someRoutes())
	var seen, caller string
	c.serve = func(_ http.ResponseWriter, r *http.Request) {
		seen, caller = r.Header.Get("X-Forwarded-For"), g.Caller(r)
	}
	for _, trusted := range []bool{false, true, false} {
		s := gateway.Settings{Domain: "wadi.localhost"}
		want, wantCaller := "10.0.0.1", "10.0.0.1"
		if trusted {
			s.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
			want, wantCaller = "198.51.100.7, 10.0.0.1", "198.51.100.7"
		}
		g.Set(s)
		r := httptest.NewRequest(http.MethodGet, "http://hello.wadi.localhost/", nil)
		r.RemoteAddr = "10.0.0.1:99"
		r.Header.Set("X-Forwarded-For", "198.51.100.7")
		if g.ServeHTTP(httptest.NewRecorder(), r); seen != want || caller != wantCaller {
			t.Errorf("trusted %v: X-Forwarded-For %q of caller %q, want %q of %q", trusted, seen, caller, want, wantCaller)
		}
	}
}
