package jobspecs

import (
	"fmt"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/wadi-run/wadi"
)

// check finds settings that are good by themselves and impossible together. head is the
// place of complaints about settings that are all defaults.
func (r *reader) check(s *wadi.Service, head hcl.Range) {
	report := func(path, format string, args ...any) { r.addf(r.at(path, head), path, format, args...) }
	r.checkScale(s.Scale, report)
	r.checkTimes(s, report)

	if s.Mesh == wadi.MeshEnvoy && s.Network == wadi.Host && r.good("mesh", "network") {
		path, other := "network", "mesh"
		if _, ok := r.ranges["network"]; !ok {
			path, other = "mesh", "network"
		}
		report(path, "Envoy can't be in the host's network: mesh \"envoy\" needs network \"bridge\"; set network = \"bridge\" or mesh = \"off\" (%s is set %s)", other, r.origin(other))
	}
	if s.Probe.GRPC != nil && s.Protocol == wadi.HTTP1 && r.good("protocol") {
		report("probe.grpc", "an app that speaks http1 can't answer a gRPC probe; set protocol = \"grpc\", or probe by http or tcp")
	}
	if s.Visibility == wadi.MeshOnly {
		if s.Mesh == wadi.MeshOff && r.good("mesh", "visibility") {
			report("visibility", "with mesh \"off\" no caller can reach a service of visibility \"mesh\"; set visibility = \"public\" or mesh = \"envoy\" (mesh is set %s)", r.origin("mesh"))
		}
		if len(s.Domains) > 0 {
			report("domains", "the gateway has no route to a service of visibility \"mesh\", so its domains do nothing; remove them or set visibility = \"public\"")
		}
	}
	if rng, ok := r.ranges["port"]; ok && s.Network == wadi.Host && r.good("port", "network") {
		p := problemAt(rng, "port", "in the host's network Nomad chooses the port, and this one means nothing: let the app listen on $PORT (network is set %s)", r.origin("network"))
		p.Warning = true
		r.problems = append(r.problems, p)
	}
	r.checkUpstreams(s, report)
	r.checkTraffic(s, report)
	r.checkRoutes(s, report)
	r.checkRollout(s, report)
	r.checkSticky(s, report)
	r.checkMirror(s, report)
	r.checkIntentions(s, report)
}

func (r *reader) checkUpstreams(s *wadi.Service, report func(path, format string, args ...any)) {
	ports := map[int]string{}
	for _, u := range s.Upstreams {
		path := "upstream." + u.Service
		port := path + ".local_port"
		if s.Mesh == wadi.MeshOff && r.good("mesh") {
			report(path, "an upstream is reached through Envoy, and mesh is \"off\"; set mesh = \"envoy\" or remove it (mesh is set %s)", r.origin("mesh"))
		}
		switch use := reservedPort(u.LocalPort); {
		case u.LocalPort == 0: // Reported when it was read.
		case use != "":
			report(port, "%d is reserved for %s; use another port", u.LocalPort, use)
		case u.LocalPort == s.Port:
			report(port, "%d is the port where the app itself listens; use another one", u.LocalPort)
		case ports[u.LocalPort] != "":
			report(port, "%d is the local port of upstream %q already; use another one", u.LocalPort, ports[u.LocalPort])
		}
		ports[u.LocalPort] = u.Service
	}
}

func (r *reader) checkScale(s wadi.Scaling, report func(path, format string, args ...any)) {
	most := r.limits.MaxInstances
	if s.Max > 0 {
		most = s.Max
	}
	type count struct {
		path string
		n    int
	}
	counts := []count{{"scale.min", s.Min}, {"scale.initial", s.Initial}, {"scale.activation", s.Activation}}
	for _, sch := range s.Schedules {
		counts = append(counts, count{"scale.schedule." + sch.Name + ".min", sch.Min})
	}
	for _, c := range counts {
		if c.n <= most || !r.good(c.path, "scale.max") {
			continue
		}
		if s.Max > 0 {
			report(c.path, "%d is above scale.max (%d, set %s)", c.n, s.Max, r.origin("scale.max"))
			continue
		}
		report(c.path, "%d is above the agent's limits.max_instances (%d)", c.n, most)
	}
	if s.Max > r.limits.MaxInstances {
		report("scale.max", "%d is above the agent's limits.max_instances (%d)", s.Max, r.limits.MaxInstances)
	}
}

func (r *reader) checkTimes(s *wadi.Service, report func(path, format string, args ...any)) {
	t := s.Timeout
	if t.Request.D() > r.limits.MaxRequestTimeout {
		report("timeout.request", "%s is above the agent's limits.max_request_timeout (%s)", t.Request.Short(), wadi.Duration(r.limits.MaxRequestTimeout).Short())
	}
	for _, c := range []struct {
		path string
		d    wadi.Duration
	}{{"timeout.response_start", t.ResponseStart}, {"timeout.idle", t.Idle}} {
		if c.d > t.Request && r.good(c.path, "timeout.request") {
			report(c.path, "%s is above timeout.request (%s, set %s), which ends the request before", c.d.Short(), t.Request.Short(), r.origin("timeout.request"))
		}
	}
	// A default that is longer than a short timeout.request does no harm.
	if rng, ok := r.ranges["queue.timeout"]; ok && s.Queue.Timeout > t.Request && r.good("queue.timeout", "timeout.request") {
		p := problemAt(rng, "queue.timeout", "%s is above timeout.request (%s, set %s), which ends the wait before", s.Queue.Timeout.Short(), t.Request.Short(), r.origin("timeout.request"))
		p.Warning = true
		r.problems = append(r.problems, p)
	}
}

// wholeSeconds is read, but refuses fractions of a second.
func wholeSeconds(read func(cty.Value) error, d *wadi.Duration) func(cty.Value) error {
	return func(v cty.Value) error {
		before := *d
		if err := read(v); err != nil {
			return err
		}
		if got := d.D(); got%time.Second != 0 {
			*d = before
			return fmt.Errorf("whole seconds are required, got %s", wadi.Duration(got).Short())
		}
		return nil
	}
}
