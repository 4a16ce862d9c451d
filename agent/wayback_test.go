package agent

import (
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
)

func TestWayBack(t *testing.T) {
	type counts = map[string]int
	for _, tt := range []struct {
		name    string
		route   wadi.Route
		healthy counts
		why     string // Part of it; empty: there is a way.
	}{
		{"nothing is known", wadi.Route{Mesh: wadi.MeshOff}, nil, "no agent"},
		{"no mesh, no activator", wadi.Route{Mesh: wadi.MeshOff}, counts{"wadi": 1}, ""},
		{"mesh", wadi.Route{Mesh: wadi.MeshEnvoy}, counts{"wadi": 1, "wadi-activator": 1}, ""},
		{"an agent without certificates yet", wadi.Route{Mesh: wadi.MeshEnvoy}, counts{"wadi": 1}, "no wadi-activator, "},
		{"another protocol's", wadi.Route{Mesh: wadi.MeshEnvoy, Protocol: wadi.GRPC}, counts{"wadi": 1, "wadi-activator": 1}, "no wadi-activator-grpc, "},
		{"its protocol's", wadi.Route{Mesh: wadi.MeshEnvoy, Protocol: wadi.H2C}, counts{"wadi": 1, "wadi-activator-http2": 1}, ""},
		{"an activator alone", wadi.Route{Mesh: wadi.MeshEnvoy}, counts{"wadi-activator": 1}, "no agent"},
	} {
		if ok, why := wayBack(tt.route, tt.healthy); ok != (tt.why == "") || !strings.Contains(why, tt.why) {
			t.Errorf("%s: %v %q, want %q", tt.name, ok, why, tt.why)
		}
	}
}
