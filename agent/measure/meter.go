// Package measure turns what agents, instances and Nomad report into the loads that the
// autoscaler decides on.
//
// It promises that a load says how much of its window is known. It refuses to decide:
// package scheduler does.
package measure

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/internal/nomad"
	"github.com/wadi-run/wadi/internal/scrape"
	"github.com/wadi-run/wadi/internal/usage"
	"github.com/wadi-run/wadi/scheduler"
)

// Meter measures the loads of revisions during one term of leadership: requests by
// scraping agents and instances, processor and memory by asking Nomad. Make it with New.
type Meter struct {
	*scrape.Scraper
	// Running gets the number of running instances of each revision that is measured, whenever
	// revisions or sources are set; nil: it is not wanted. It is set before the first Set.
	Running func(byRevision map[string]int)

	usage *usage.Usage
}

var (
	_ control.Meter           = (*Meter)(nil)
	_ control.Loads           = (*Meter)(nil)
	_ control.UsageReader     = (*Meter)(nil)
	_ control.InstanceReports = (*Meter)(nil)
	_ control.ExposureReports = (*Meter)(nil)
)

// New returns a meter that measures nothing until Set. Its metrics are registered at reg.
func New(client *nomad.Client, log hclog.Logger, reg prometheus.Registerer) *Meter {
	return &Meter{
		Scraper: scrape.New(log.Named("scrape"), reg),
		usage:   usage.New(&usageReader{nomad: client}, log.Named("usage"), reg),
	}
}

// Run measures until ctx ends.
func (m *Meter) Run(ctx context.Context) error {
	var scraped, used error
	var wg sync.WaitGroup
	wg.Go(func() { scraped = m.Scraper.Run(ctx) })
	wg.Go(func() { used = m.usage.Run(ctx) })
	wg.Wait()
	return errors.Join(scraped, used)
}

// Unread returns why the resource usage of a revision's instances can't be read; empty
// while it can.
func (m *Meter) Unread(revision string) string { return m.usage.ReadError(revision) }

// Set implements [control.Meter].
func (m *Meter) Set(revisions []control.MeasuredRevision, sources []control.Source) {
	revs := make([]scrape.Revision, 0, len(revisions))
	used := map[string]control.MeasuredRevision{}
	var usages []usage.Revision
	for _, r := range revisions {
		revs = append(revs, scrape.Revision{ID: r.ID, Created: r.Created, Window: r.Window})
		if r.Usage {
			used[r.ID] = r
			usages = append(usages, usage.Revision{ID: r.ID, Window: r.Window})
		}
	}
	running := make(map[string]int, len(revisions))
	for _, r := range revisions {
		running[r.ID] = 0
	}
	srcs := make([]scrape.Source, 0, len(sources))
	var instances []usage.Instance
	for _, s := range sources {
		srcs = append(srcs, scrape.Source{
			ID: s.ID, Kind: s.Kind, Addr: s.Addr, Revision: s.Revision,
			Placed: s.Placed, Starting: s.Starting, Stopping: s.Stopping, Seen: s.Seen,
		})
		if _, measured := running[s.Revision]; measured && s.Kind == wadi.SourceInstance && !s.Starting {
			running[s.Revision]++
		}
		if r, ok := used[s.Revision]; ok && s.Kind == wadi.SourceInstance && !s.Stopping {
			instances = append(instances, usage.Instance{
				ID: s.ID, Revision: s.Revision, Namespace: r.Namespace, Task: r.Task,
				Placed: s.Placed, Starting: s.Starting, Restarts: s.Restarts,
			})
		}
	}
	m.Scraper.Set(revs, srcs)
	m.usage.Set(usages, instances)
	if m.Running != nil {
		m.Running(running)
	}
}

// Load implements [control.Loads].
func (m *Meter) Load(revision string, by []wadi.MetricTarget, stable, panicking time.Duration, into *scheduler.Loads) (ready int, known bool) {
	for _, t := range by {
		switch t.Metric {
		case wadi.CPU:
			into.CPU = usageAverages(m.usage.CPU(revision, stable, panicking))
		case wadi.Memory:
			into.Memory = usageAverages(m.usage.Memory(revision, stable, panicking))
		}
	}
	m.Read(revision, func(got scrape.Reading) {
		ready, known = got.Ready, got.ReadyKnown
		into.Concurrency = got.Windows.Averages(got.Now, stable, panicking, wadi.Concurrency)
		if slices.ContainsFunc(by, func(t wadi.MetricTarget) bool { return t.Metric == wadi.RPS }) {
			into.RPS = got.Windows.Averages(got.Now, stable, panicking, wadi.RPS)
		}
	})
	return ready, known
}

// Seconds calls add with the load of each second of a revision from one to before another,
// in Unix seconds, as far as it was reported. An unmeasured revision has no load.
func (m *Meter) Seconds(revision string, from, to int64, add func(second int64, concurrency, begun float64)) {
	m.Read(revision, func(got scrape.Reading) {
		for second := from; second < to; second++ {
			if concurrency, begun := got.Windows.Second(second, got.Now); concurrency > 0 || begun > 0 {
				add(second, concurrency, begun)
			}
		}
	})
}
