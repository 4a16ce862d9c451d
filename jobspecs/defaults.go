package jobspecs

import (
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/wadi-run/wadi"
)

// builtin has every default of a service: the only place for defaults.
func builtin() wadi.Service {
	return wadi.Service{
		Namespace:   "default",
		Datacenters: []string{"*"},
		NodePool:    "default",
		Priority:    50,
		Port:        8080,
		Protocol:    wadi.HTTP1,
		Visibility:  wadi.Public,
		Network:     wadi.Bridge,
		Mesh:        wadi.MeshEnvoy,
		Probe:       wadi.Probe{Timeout: wadi.Duration(time.Second)}, // A TCP connect.
		Timeout: wadi.Timeouts{
			Request:  wadi.Duration(300 * time.Second),
			Progress: wadi.Duration(600 * time.Second),
		},
		Queue: wadi.Queue{
			Depth:   1000,
			Timeout: wadi.Duration(60 * time.Second),
		},
		Scale: wadi.Scaling{
			Initial:               1,
			Activation:            1,
			Window:                wadi.Duration(60 * time.Second),
			PanicWindowPercent:    10,
			PanicThresholdPercent: 200,
			MaxUpRate:             1000,
			MaxDownRate:           2,
			ManualHold:            wadi.Duration(60 * time.Second),
			Metrics:               []wadi.MetricTarget{{Metric: wadi.Concurrency, Utilization: wadi.Concurrency.Default().Utilization}},
		},
		Retention:     wadi.Retention{Keep: 5},
		ResolveImages: wadi.ResolveTry,
	}
}

// Defaults are the settings of a service whose spec does not set them. The zero value is
// the built-in ones.
type Defaults struct {
	service *wadi.Service
}

// Service is a service with only defaults. The caller owns it.
func (d Defaults) Service() wadi.Service {
	if d.service == nil {
		return builtin()
	}
	s := *d.service
	s.Datacenters = slices.Clone(s.Datacenters)
	s.Queue.Quiet = slices.Clone(s.Queue.Quiet)
	s.Meta = maps.Clone(s.Meta)
	s.Scale.Metrics = slices.Clone(s.Scale.Metrics)
	s.Scale.Schedules = slices.Clone(s.Scale.Schedules)
	if s.Rollout != nil {
		o := *s.Rollout
		o.ErrorCodes = slices.Clone(o.ErrorCodes)
		s.Rollout = &o
	}
	return s
}

// ParseDefaults reads the defaults block of the agent's configuration: any setting of a
// service except those of a single service (instance, serving_task, domains, upstream,
// traffic). Other settings have the built-in defaults.
func ParseDefaults(body hcl.Body) (Defaults, []wadi.Problem) {
	// The agent's limits are checked with each service: they may be lowered later.
	r := &reader{limits: Limits{MaxInstances: 10_000, MaxRequestTimeout: 24 * time.Hour}.orDefault()}
	r.begin()
	s := builtin()
	r.body(body, "", r.general(&s), r.tunable(&s))
	r.check(&s, body.MissingItemRange())
	sortProblems(r.problems)
	return Defaults{service: &s}, r.problems
}
