package control

import (
	"slices"
	"time"

	"github.com/wadi-run/wadi"
)

// MeasuredRevision is a revision whose load is measured.
type MeasuredRevision struct {
	ID      string
	Created time.Time
	Window  time.Duration // The longest window that its load is averaged over.

	// Usage: what its instances use of processor and memory is measured too, namely
	// what Task does in Namespace.
	Usage           bool
	Namespace, Task string
}

// Source is an agent or an instance that serves statistics.
type Source struct {
	ID   string // Allocation ID, or agent name.
	Kind wadi.SourceKind
	Addr string // host:port of its metrics listener.

	Stopping bool      // It is draining, or believed to be gone.
	Seen     time.Time // Since when it is known to exist, across restarts of its process; zero: since its process began.

	// Of an instance alone:

	Revision string
	Placed   time.Time
	Starting bool // Not known to have run: it has no load before it is ready.
	Restarts int  // Of its tasks.
}

// measuredRevisions lists the revisions that may have load, and all sources of their
// statistics.
func (c *Controller) measuredRevisions() ([]MeasuredRevision, []Source) {
	var revs []MeasuredRevision
	srcs := c.Agents()
	for _, s := range c.services {
		for _, r := range s.Revisions {
			if _, routed := s.Route.Revisions[r.ID]; !routed && !c.Cluster.Job(s.Service.Namespace, r.ID).Exists {
				continue
			}
			revs = append(revs, MeasuredRevision{
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
	if ep.Restarts > 0 { // Perhaps of its queue-proxy, whose counters began anew.
		s.Seen = s.Placed
	}
	return s
}

// usesUsage reports whether a service is scaled by what its instances use.
func usesUsage(sc wadi.Scaling) bool {
	return slices.ContainsFunc(sc.Metrics, func(m wadi.MetricTarget) bool { return !m.Metric.OfRequests() })
}
