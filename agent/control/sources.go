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

// measured is what the meter is told of one service. It is kept while nothing of the service
// has changed: there may be tens of thousands of instances, and few change at a time.
type measured struct {
	of        *wadi.Stored // As published when it was made.
	stale     bool         // The service was reconciled since.
	revisions []MeasuredRevision
	sources   []Source
}

// tellEvery is how often the meter is told at least: it then forgets what is too old.
const tellEvery = time.Minute

// tellMeter says what is measured from now on, if that has changed.
func (c *Controller) tellMeter() {
	agents := c.Agents()
	changed := !slices.Equal(agents, c.agents) || time.Since(c.toldAt) >= tellEvery
	revisions, sources := 0, len(agents)
	for _, s := range c.services {
		if s.measured.of != s.published || s.measured.stale {
			now := c.measure(s)
			changed = changed || !slices.Equal(now.revisions, s.measured.revisions) || !slices.Equal(now.sources, s.measured.sources)
			s.measured = now
		}
		revisions, sources = revisions+len(s.measured.revisions), sources+len(s.measured.sources)
	}
	counts := [3]int{len(c.services), revisions, sources} // A service that is gone is in none of the above.
	if !changed && counts == c.told {
		return
	}
	c.agents, c.told, c.toldAt = agents, counts, time.Now()
	revs, srcs := make([]MeasuredRevision, 0, revisions), append(make([]Source, 0, sources), agents...)
	for _, s := range c.services {
		revs, srcs = append(revs, s.measured.revisions...), append(srcs, s.measured.sources...)
	}
	c.Meter.Set(revs, srcs)
}

// measure lists the revisions of a service that may have load, and the instances that serve
// statistics of it.
func (c *Controller) measure(s *service) measured {
	m := measured{of: s.published}
	for _, r := range s.Revisions {
		if _, routed := s.Route.Revisions[r.ID]; !routed && !c.Cluster.Job(s.Service.Namespace, r.ID).Exists {
			continue
		}
		m.revisions = append(m.revisions, MeasuredRevision{
			ID: r.ID, Created: time.Unix(r.Created, 0), Window: s.Service.Scale.Window.D(),
			Usage: usesUsage(s.Service.Scale), Namespace: s.Service.Namespace, Task: r.Spec.ServingTask,
		})
		eps, _ := c.Cluster.Endpoints(s.Service.Namespace, r.ID)
		for _, ep := range eps {
			if !ep.Ended && ep.Metrics != "" {
				m.sources = append(m.sources, instanceSource(r.ID, ep))
			}
		}
	}
	return m
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
