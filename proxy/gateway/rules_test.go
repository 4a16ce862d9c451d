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

// A rule comes after tags and before the split. Who may do it is asked of the service to
// which it leads, by the path that the app gets: no rule is a way round intentions or
// visibility.
func TestRules(t *testing.T) {
	hello := tagged()
	hello.Rules = []wadi.RouteRule{
		{Name: "v2", Match: wadi.RuleMatch{PathPrefix: "/v2"}, Revision: "hello-00007", PrefixRewrite: "/"},
		{Name: "bills", Match: wadi.RuleMatch{PathPrefix: "/bills"}, Service: "billing", PrefixRewrite: "/admin"},
		{Name: "secret", Match: wadi.RuleMatch{PathPrefix: "/secret"}, Service: "secret"},
		{Name: "gone", Match: wadi.RuleMatch{PathPrefix: "/gone"}, Service: "gone"},
		{Name: "none", Match: wadi.RuleMatch{PathPrefix: "/none"}, Service: "none"},
		{Name: "old", Match: wadi.RuleMatch{PathPrefix: "/old/"}, PrefixRewrite: "/", Redirect: &wadi.Redirect{Code: 301}},
		{Name: "short", Match: wadi.RuleMatch{Path: "/s"}, PrefixRewrite: "/search"},
	}
	billing := route("billing", wadi.RouteTarget{Revision: "billing-00001", Weight: wadi.WeightAll}, wadi.RouteTarget{Revision: "billing-00002", Tag: "blue"})
	billing.Rules = []wadi.RouteRule{{Name: "all", Match: wadi.RuleMatch{PathPrefix: "/"}, Revision: "billing-00009"}}
	secret := route("secret", wadi.RouteTarget{Revision: "secret-00001", Weight: wadi.WeightAll})
	secret.Visibility = wadi.MeshOnly
	c := &core{asked: map[string]int{}}
	asked, denied := "", false
	g, err := gateway.New(gateway.Config{
		Settings: gateway.Settings{Domain: "wadi.localhost"}, Activator: c, Registerer: prometheus.NewRegistry(),
		Authorize: func(_, service string, r *http.Request) error {
			asked = service + " " + r.RequestURI
			if denied {
				return wadi.ErrForbidden
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	g.SetRoutes(map[string]wadi.Route{"hello": hello, "billing": billing, "secret": secret, "gone": route("gone")})
	for _, tt := range []struct {
		host, tag, target string
		status            int
		answer, asked     string // The revision, or the Location; whose intentions are asked, with which path.
	}{
		{"hello", "", "/v2/x?q=1", 200, "hello hello-00007", "hello /x?q=1"},
		{"hello", "", "/v2", 200, "hello hello-00007", "hello /"},
		{"hello", "", "/v20", 200, "hello hello-00003", "hello /v20"},
		{"hello", "", "/s?q", 200, "hello hello-00003", "hello /search?q"},
		{"hello", "canary", "/v2/x", 200, "hello hello-00002", "hello /v2/x"},
		{"hello", "nosuch", "/v2/x", 200, "hello hello-00007", "hello /x"},
		{"canary-hello", "", "/v2/x", 200, "hello hello-00002", "hello /v2/x"},
		{"canary-hello", "", "/old/x", 200, "hello hello-00002", "hello /old/x"},
		{"hello", "blue", "/bills/x", 200, "billing billing-00001", "billing /admin/x"},
		{"hello", "", "/secret/x", 404, "", ""},
		{"hello", "", "/gone/x", 404, "", ""},
		{"hello", "", "/none/x", 404, "", ""},
		{"hello", "", "/old//evil.example?q=1", 301, "/evil.example?q=1", "hello /old//evil.example?q=1"},
	} {
		for _, denied = range []bool{false, true} {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, tt.target, nil)
			r.Host = tt.host + ".wadi.localhost"
			if tt.tag != "" {
				r.Header.Set(wadi.HeaderTag, tt.tag)
			}
			asked = ""
			g.ServeHTTP(w, r)
			got := fmt.Sprintf("%d", w.Code)
			want := fmt.Sprintf("%d", tt.status)
			switch {
			case denied && tt.asked != "":
				want = "403"
			case tt.status == 200:
				got, want = got+" "+w.Body.String(), want+" "+tt.answer
			default:
				got, want = got+" "+w.Header().Get("Location"), want+" "+tt.answer
			}
			if got != want || asked != tt.asked {
				t.Errorf("%s (tag %q) %s, denied %t: got %q after asking for %q, want %q after %q", tt.host, tt.tag, tt.target, denied, got, asked, want, tt.asked)
			}
		}
	}
}
