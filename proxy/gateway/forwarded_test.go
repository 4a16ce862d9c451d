package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A name with underscores counts as the one with dashes: many apps can't distinguish them.
func TestForwardingHeaders_OtherNames(t *testing.T) {
	for _, trusted := range [][]string{nil, {"192.0.2.0/24", "2001:db8::/32"}} {
		g, c := newGateway(t, someRoutes(), trusted...)
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = "hello.wadi.localhost"
		for _, name := range []string{"X_Forwarded_For", "x-forwarded_for", "X_Forwarded-Proto", "X_Real_IP", "wadi_service", "WADI_PROXIED"} {
			r.Header.Set(name, "1.2.3.4")
		}
		r.Header.Set("X_Other", "stays")
		g.ServeHTTP(httptest.NewRecorder(), r)
		want := http.Header{"X_other": {"stays"}, "X-Forwarded-For": {"192.0.2.1"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"hello.wadi.localhost"}}
		if diff := cmp.Diff(want, c.last); diff != "" {
			t.Errorf("trusted %v: %s", trusted, diff)
		}
	}
}

func TestForwarded_IPv6(t *testing.T) {
	g, c := newGateway(t, someRoutes(), "2001:db8::/32", "10.0.0.0/8")
	for remote, want := range map[string][2]string{
		"[2001:db8::1]:80":      {"1.2.3.4, 2001:db8::1", `for=1.2.3.4, for="[2001:db8::1]";proto=http`},
		"[::ffff:10.1.2.3]:80":  {"1.2.3.4, 10.1.2.3", "for=1.2.3.4, for=10.1.2.3;proto=http"},
		"[2001:db8::1%eth0]:80": {"1.2.3.4, 2001:db8::1", `for=1.2.3.4, for="[2001:db8::1]";proto=http`},
		"[2001:db9::1]:80":      {"2001:db9::1", ""},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host, r.RemoteAddr = "hello.wadi.localhost", remote
		r.Header.Set("X-Forwarded-For", "1.2.3.4")
		r.Header.Set("Forwarded", "for=1.2.3.4")
		g.ServeHTTP(httptest.NewRecorder(), r)
		if got := [2]string{c.last.Get("X-Forwarded-For"), c.last.Get("Forwarded")}; got != want {
			t.Errorf("%s: got %q, want %q", remote, got, want)
		}
	}
}
