package control

import (
	"slices"
	"time"

	"github.com/wadi-run/wadi"
)

// measured lists the revisions that may have load, and everything that serves
// statistics of them now.
func (c *Controller) measured() ([]Measured, []Source) {
	var revs []Measured
	srcs := c.Agents()
	for _, s := range c.services {
		for _, r := range s.Revisions {
			if _, routed := s.Route.Revisions[r.ID]; !routed && !c.Cluster.Job(s.Service.Namespace, r.ID).Exists {
				continue
			}
			revs = append(revs, Measured{
				ID: r.ID, Created: time.Unix(r.Created, 0), Window: s.Service.Scale.Window.D(),
				Usage: usesUsage(s.Service.Scale), Namespace: s.Service.Namespace, Task: r.Spec.ServingTask,
			})
			eps, _ := c.Cluster.Endpoints(s.Service.Namespace, r.ID)
			for _, ep := range eps {
				if !ep.Ended && ep.Metrics != "" {
					srcs = append(srcs, instanceSource(r.ID, ep))
				}
			}
		}
	}
	return revs, srcs
}

func instanceSource(revision string, ep wadi.Endpoint) Source {
	s := Source{
		ID: ep.Instance, Kind: wadi.SourceInstance, Revision: revision, Addr: ep.Metrics,
		Placed: time.Unix(0, ep.Created), Starting: !ep.Running, Stopping: ep.Stopping, Restarts: ep.Restarts,
	}
	if ep.Restarts > 0 { // Perhaps of its queue-proxy, which took along what it had counted.
		s.Seen = s.Placed
	}
	return s
}

// usesUsage reports whether a service is scaled by what its instances use.
func usesUsage(sc wadi.Scaling) bool {
	return slices.ContainsFunc(sc.Metrics, func(m wadi.MetricTarget) bool { return !m.Metric.OfRequests() })
}

// events are the latest of the service, of earlier terms too.
func (s *service) events(log *Events) []wadi.Event {
	evs := append(slices.Clone(s.history), log.Of(s.Service.Name, s.since)...)
	return evs[max(0, len(evs)-eventsStored):]
}
