package gateway_test

import (
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/gateway"
)

type nobody struct{}

func (nobody) ServeRevision(http.ResponseWriter, *http.Request, string, string) {}

func TestServes(t *testing.T) {
	g, err := gateway.New(gateway.Config{Settings: gateway.Settings{Domain: "example.test"}, Activator: nobody{}, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	to := func(service string, number int, domains ...string) wadi.Route {
		return wadi.Route{Service: service, Visibility: wadi.Public, Domains: domains,
			Targets: []wadi.RouteTarget{{Revision: wadi.RevisionID(service, number), Weight: wadi.WeightAll}}}
	}
	tag := func(r wadi.Route, tag string, number int) wadi.Route {
		r.Targets = append(r.Targets, wadi.RouteTarget{Revision: wadi.RevisionID(r.Service, number), Tag: tag})
		return r
	}
	meshOnly := func(r wadi.Route) wadi.Route { r.Visibility = wadi.MeshOnly; return r }
	for name, tt := range map[string]struct {
		serves []wadi.Route
		route  wadi.Route
		ok     bool
		why    string
	}{
		"nothing":         {nil, to("hello", 1), false, "the gateway does not serve host hello.example.test yet"},
		"as wanted":       {[]wadi.Route{to("hello", 1, "Shop.test.")}, to("hello", 1, "shop.test"), true, ""},
		"an earlier one":  {[]wadi.Route{to("hello", 1)}, to("hello", 2), false, "the gateway serves host hello.example.test by an earlier route"},
		"a domain more":   {[]wadi.Route{to("hello", 1)}, to("hello", 1, "shop.test"), false, "the gateway does not serve host shop.test yet"},
		"a domain held":   {[]wadi.Route{to("a", 1, "shop.test"), to("hello", 1, "shop.test")}, to("hello", 1, "shop.test"), true, "host shop.test is held by service a"},
		"the holder":      {[]wadi.Route{to("a", 1, "shop.test"), to("hello", 1, "shop.test")}, to("a", 1, "shop.test"), true, ""},
		"a tag":           {[]wadi.Route{tag(to("hello", 2), "old", 1)}, tag(to("hello", 2), "old", 1), true, ""},
		"a tag more":      {[]wadi.Route{to("hello", 2)}, tag(to("hello", 2), "old", 1), false, "the gateway serves host hello.example.test by an earlier route"},
		"a tag less":      {[]wadi.Route{tag(to("hello", 2), "old", 1)}, to("hello", 2), false, "the gateway serves host hello.example.test by an earlier route"},
		"a tag moved":     {[]wadi.Route{tag(to("hello", 2), "old", 1)}, tag(to("hello", 2), "old", 2), false, "the gateway serves host hello.example.test by an earlier route"},
		"mesh only":       {nil, meshOnly(to("hello", 1)), true, ""},
		"no longer":       {[]wadi.Route{to("hello", 1)}, meshOnly(to("hello", 1)), false, "the gateway still serves host hello.example.test"},
		"its name's held": {[]wadi.Route{to("a", 1, "hello.example.test")}, to("hello", 1), false, "host hello.example.test of service hello belongs to service a"},
	} {
		t.Run(name, func(t *testing.T) {
			routes := map[string]wadi.Route{}
			for _, r := range tt.serves {
				routes[r.Service] = r
			}
			g.SetRoutes(routes)
			if ok, why := g.Serves(tt.route); ok != tt.ok || why != tt.why {
				t.Errorf("got %v %q, want %v %q", ok, why, tt.ok, tt.why)
			}
		})
	}
}
