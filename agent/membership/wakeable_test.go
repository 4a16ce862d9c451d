package membership

import (
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
)

func TestWakeable(t *testing.T) {
	type counts = map[string]int
	for _, tt := range []struct {
		name    string
		route   wadi.Route
		healthy counts
		why     string // Part of it; empty: a request would wake it.
	}{
		{"nothing is known", wadi.Route{Mesh: wadi.MeshOff}, nil, "no agent"},
		{"no mesh, no activator", wadi.Route{Mesh: wadi.MeshOff}, counts{"wadi": 1}, ""},
		{"mesh", wadi.Route{Mesh: wadi.MeshEnvoy}, counts{"wadi": 1, "wadi-activator": 1}, ""},
		{"an agent without certificates yet", wadi.Route{Mesh: wadi.MeshEnvoy}, counts{"wadi": 1}, "no wadi-activator, "},
		{"another protocol's", wadi.Route{Mesh: wadi.MeshEnvoy, Protocol: wadi.GRPC}, counts{"wadi": 1, "wadi-activator": 1}, "no wadi-activator-grpc, "},
		{"its protocol's", wadi.Route{Mesh: wadi.MeshEnvoy, Protocol: wadi.H2C}, counts{"wadi": 1, "wadi-activator-http2": 1}, ""},
		{"an activator alone", wadi.Route{Mesh: wadi.MeshEnvoy}, counts{"wadi-activator": 1}, "no agent"},
	} {
		m := New(Self{Name: "one"}, hclog.NewNullLogger())
		for service, n := range tt.healthy {
			m.SetHealthy(service, n)
		}
		if ok, why := m.Wakeable(tt.route); ok != (tt.why == "") || !strings.Contains(why, tt.why) {
			t.Errorf("%s: %v %q, want %q", tt.name, ok, why, tt.why)
		}
	}
}
