package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// Trusted proxies, and nothing else, decide which callers share with each other.
func TestCaller(t *testing.T) {
	for name, tt := range map[string]struct {
		peer string
		said []string
		want string
	}{
		"an address":              {"192.0.2.1:99", nil, "192.0.2.1"},
		"another port":            {"192.0.2.1:100", nil, "192.0.2.1"},
		"an IPv6 network":         {"[2001:db8:1:2:3::4]:99", nil, "2001:db8:1:2::/64"},
		"IPv4 in IPv6":            {"[::ffff:192.0.2.1]:99", nil, "192.0.2.1"},
		"nobody believes it":      {"192.0.2.1:99", []string{"198.51.100.7"}, "192.0.2.1"},
		"a trusted proxy":         {"10.0.0.1:99", []string{"198.51.100.7"}, "198.51.100.7"},
		"two of them":             {"10.0.0.1:99", []string{"198.51.100.7, 10.0.0.2"}, "198.51.100.7"},
		"in two fields":           {"10.0.0.1:99", []string{"198.51.100.7", "10.0.0.2"}, "198.51.100.7"},
		"what its caller claimed": {"10.0.0.1:99", []string{"203.0.113.9, 198.51.100.7"}, "198.51.100.7"},
		"a proxy's own request":   {"10.0.0.1:99", nil, "10.0.0.1"},
		"nonsense":                {"10.0.0.1:99", []string{"203.0.113.9, unknown"}, "10.0.0.1"},
		"emptiness":               {"10.0.0.1:99", []string{""}, "10.0.0.1"},
		"an IPv6 caller":          {"10.0.0.1:99", []string{"2001:db8:1:2:3::4"}, "2001:db8:1:2::/64"},
	} {
		t.Run(name, func(t *testing.T) {
			g, c := newGateway(t, someRoutes(), "10.0.0.0/8")
			var got string
			c.serve = func(_ http.ResponseWriter, r *http.Request) { got = g.Caller(r) }
			r := httptest.NewRequest(http.MethodGet, "http://hello.wadi.localhost/", nil)
			r.RemoteAddr = tt.peer
			r.Header["X-Forwarded-For"] = tt.said
			if g.ServeHTTP(httptest.NewRecorder(), r); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
