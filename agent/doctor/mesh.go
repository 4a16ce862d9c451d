package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/survey"
)

const (
	aboutMeshOf = "mesh"
	aboutEnvoy  = "Envoy"

	rootSoon = 30 * 24 * time.Hour // Before the root of the mesh expires.
)

// aboutMesh judges Consul's part of the mesh.
func aboutMesh(c survey.Consul, needs Needs, now time.Time) []wadi.Finding {
	var out []wadi.Finding
	if needs.Mesh && c.Connect.Err == nil && len(c.Connect.Value) == 0 {
		out = append(out, wadi.Finding{Level: wadi.LevelFail, About: aboutMeshOf,
			What:   "Consul Connect is off, and services are in the mesh",
			Remedy: "set connect { enabled = true } on Consul's servers, or mesh = \"off\" in the defaults of the agents' configuration"})
	}
	out = append(out, aboutRoots(c.Connect.Value, now)...)
	if !needs.Mesh {
		return out
	}
	if a := c.Agent.Value; c.Agent.Err == nil && !a.GRPC {
		out = append(out, wadi.Finding{Level: wadi.LevelWarn, About: aboutMeshOf,
			What:   "the Consul agent at consul.address serves no gRPC, from which Envoy gets its configuration",
			Remedy: "set ports { grpc = 8502 } for the Consul agents of nodes that run instances"})
	}
	if len(c.Overrides.Value) > 0 {
		out = append(out, wadi.Finding{Level: wadi.LevelWarn, About: aboutMeshOf,
			What:   fmt.Sprintf("proxy-defaults sets %s for every Envoy: it overrides the timeouts, intentions or bounds that Wadi writes", strings.Join(c.Overrides.Value, ", ")),
			Remedy: "take them out (consul config read -kind proxy-defaults -name global), or give them to the services that need them by service-defaults of their own"})
	}
	return append(out, aboutEnvoyVersion(needs.Sidecar, c.Agent.Value)...)
}

// aboutRoots looks whether the root of the mesh ends soon. Consul's own authority does not
// renew it by itself.
func aboutRoots(roots []survey.Root, now time.Time) []wadi.Finding {
	i := slices.IndexFunc(roots, func(r survey.Root) bool { return r.Active })
	if i < 0 {
		return nil
	}
	left := roots[i].NotAfter.Sub(now)
	f := wadi.Finding{Level: wadi.LevelWarn, About: aboutMeshOf,
		What:   fmt.Sprintf("the root certificate expires on %s, in %s: then no call passes in the mesh", day(roots[i].NotAfter), wadi.Quantity(max(0, int(left.Hours()/24)), "day")),
		Remedy: "rotate it while it is good, by a change of the authority's configuration: consul connect ca set-config"}
	switch {
	case left <= 0:
		f.Level, f.What = wadi.LevelFail, "the root certificate expired on "+day(roots[i].NotAfter)
	case left >= rootSoon:
		return nil
	}
	return []wadi.Finding{f}
}

// aboutEnvoyVersion compares Envoy with what Consul supports. Where Nomad chooses the image
// it asks Consul.
func aboutEnvoyVersion(s Sidecar, consul survey.ConsulAgent) []wadi.Finding {
	var minors []string
	lowest, highest := "", ""
	for _, v := range consul.Envoys {
		minor := survey.Minor(v)
		if minor == "" {
			continue
		}
		minors = append(minors, minor)
		if lowest == "" || survey.Newer(lowest, minor) {
			lowest = minor
		}
		if highest == "" || survey.Newer(minor, highest) {
			highest = minor
		}
	}
	have := survey.Minor(s.Version)
	if have == "" || lowest == "" {
		return nil
	}
	supported := fmt.Sprintf("Consul %s supports %s", consul.Version, strings.Join(minors, ", "))
	remedy := fmt.Sprintf("bring mesh.sidecar_task to %s; without that block Nomad chooses an image that Consul supports", consul.Envoys[0])
	switch {
	case survey.Newer(lowest, have):
		return []wadi.Finding{{Level: wadi.LevelFail, About: aboutEnvoy, What: fmt.Sprintf("its version %s is too old: %s", s.Version, supported), Remedy: remedy}}
	case survey.Newer(have, highest):
		return []wadi.Finding{{Level: wadi.LevelWarn, About: aboutEnvoy, What: fmt.Sprintf("its version %s is newer than what Consul was tested with: %s", s.Version, supported), Remedy: remedy + "; or upgrade Consul"}}
	}
	return []wadi.Finding{{Level: wadi.LevelOK, About: aboutEnvoy, What: fmt.Sprintf("its version is %s, and %s", s.Version, supported)}}
}
