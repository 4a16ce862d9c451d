package gateway_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/gateway"
)

func TestAuthorize(t *testing.T) {
	c := &core{asked: map[string]int{}}
	var asked []string
	var says error
	g, err := gateway.New(gateway.Config{
		Settings: gateway.Settings{Domain: "wadi.localhost"}, Activator: c, Registerer: prometheus.NewRegistry(),
		Authorize: func(caller, service string, r *http.Request) error {
			// The claims of an untrusted client don't admit it.
			asked = append(asked, fmt.Sprintf("%s to %s for %s with %q", caller, service, r.Header.Get("X-Forwarded-For"), r.Header.Get(wadi.HeaderProxied)))
			return says
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	g.SetRoutes(someRoutes())
	for _, tt := range []struct {
		host   string
		says   error
		status int
		code   string
	}{
		{"hello.wadi.localhost", nil, 200, ""},
		{"hello.wadi.localhost", fmt.Errorf("%w: no", wadi.ErrForbidden), 403, "denied"},
		{"hello.wadi.localhost", fmt.Errorf("%w: no", wadi.ErrUnavailable), 503, "intentions_unknown"},
		{"gone.wadi.localhost", wadi.ErrForbidden, 404, "unknown_host"},
		{"nobody.wadi.localhost", nil, 404, "unknown_host"},
	} {
		asked, says = nil, tt.says
		clear(c.asked)
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = tt.host
		r.Header.Set("X-Forwarded-For", "10.0.0.1")
		r.Header.Set(wadi.HeaderProxied, "1")
		g.ServeHTTP(w, r)
		if w.Code != tt.status || w.Header().Get("Wadi-Error") != tt.code {
			t.Errorf("%s: got %d %q", tt.host, w.Code, w.Header().Get("Wadi-Error"))
		}
		if (len(c.asked) > 0) != (tt.status == 200) {
			t.Errorf("%s: the activator was asked for %v", tt.host, c.asked)
		}
		if want := `wadi-gateway to hello for 192.0.2.1 with ""`; tt.host == "hello.wadi.localhost" && (len(asked) != 1 || asked[0] != want) {
			t.Errorf("asked %q", asked)
		}
	}
}
