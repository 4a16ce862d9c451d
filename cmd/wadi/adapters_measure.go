//go:build linux

package main

import (
	"context"
	"fmt"
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

// loopMeasure is the scraper as the leader's loops see it, and what reads the use
// of processor and memory.
type loopMeasure struct {
	*scrape.Scraper
	usage *usage.Usage
}

var _ control.Measure = loopMeasure{}

func newMeasure(client *nomad.Client, log hclog.Logger, reg prometheus.Registerer) loopMeasure {
	return loopMeasure{
		Scraper: scrape.New(log.Named("scrape"), reg),
		usage:   usage.New(&usageReader{nomad: client}, log.Named("usage"), reg),
	}
}

func (m loopMeasure) Set(revisions []control.Measured, sources []control.Source) {
	revs := make([]scrape.Revision, 0, len(revisions))
	used := map[string]control.Measured{}
	var usages []usage.Revision
	for _, r := range revisions {
		revs = append(revs, scrape.Revision{ID: r.ID, Created: r.Created, Window: r.Window})
		if r.Usage {
			used[r.ID] = r
			usages = append(usages, usage.Revision{ID: r.ID, Window: r.Window})
		}
	}
	srcs := make([]scrape.Source, 0, len(sources))
	var instances []usage.Instance
	for _, s := range sources {
		srcs = append(srcs, scrape.Source{
			ID: s.ID, Kind: s.Kind, Addr: s.Addr, Revision: s.Revision,
			Placed: s.Placed, Starting: s.Starting, Stopping: s.Stopping, Seen: s.Seen,
		})
		if r, ok := used[s.Revision]; ok && s.Kind == wadi.SourceInstance && !s.Stopping {
			instances = append(instances, usage.Instance{
				ID: s.ID, Revision: s.Revision, Namespace: r.Namespace, Task: r.Task,
				Placed: s.Placed, Starting: s.Starting, Restarts: s.Restarts,
			})
		}
	}
	m.Scraper.Set(revs, srcs)
	m.usage.Set(usages, instances)
}

// Load implements agent.Measure.
func (m loopMeasure) Load(revision string, by []wadi.MetricTarget, stable, panicking time.Duration, into *scheduler.Loads) (ready int, known bool) {
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

// wholeUsage is the share of a window that counts as all of it: readings come every
// few seconds, and what is between them is not exact.
const wholeUsage = 0.99

// enoughUsage is the share of the time after instances' starts that must be known for
// the mean to be the least that there is.
const enoughUsage = 0.5

func usageAverages(a usage.Averages, ok bool) scheduler.Averages {
	if !ok {
		return scheduler.Averages{}
	}
	return scheduler.Averages{
		Stable: a.Stable.Mean, Panic: a.Panic.Mean, Coverage: a.Stable.Coverage, PanicCoverage: a.Panic.Coverage,
		Partial: a.Stable.Coverage < wholeUsage || a.Panic.Coverage < wholeUsage,
		AtLeast: a.Stable.Counted >= enoughUsage && a.Panic.Counted >= enoughUsage, End: a.End,
	}
}

// usageReader reads what an instance uses from Nomad, and remembers what it asked for.
type usageReader struct {
	nomad *nomad.Client
	mu    sync.Mutex
	asked map[string]nomad.Resources // By allocation.
}

// Read implements usage.Reader.
func (u *usageReader) Read(ctx context.Context, in usage.Instance) (usage.Reading, error) {
	asked, err := u.ask(ctx, in)
	if err != nil {
		return usage.Reading{}, err
	}
	got, err := u.nomad.Usage(ctx, in.Namespace, in.ID, in.Task)
	if err != nil {
		return usage.Reading{}, err
	}
	if asked.CPU <= 0 || asked.Memory <= 0 { // Nomad gives every task some.
		return usage.Reading{}, fmt.Errorf("allocation %s: what task %q asked for is not known", in.ID, in.Task)
	}
	return usage.Reading{CPU: 100 * got.CPU / asked.CPU, Memory: 100 * got.Memory / asked.Memory, At: got.At}, nil
}

func (u *usageReader) ask(ctx context.Context, in usage.Instance) (nomad.Resources, error) {
	u.mu.Lock()
	r, ok := u.asked[in.ID]
	u.mu.Unlock()
	if ok {
		return r, nil
	}
	r, err := u.nomad.Asked(ctx, in.Namespace, in.ID, in.Task)
	if err != nil {
		return r, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.asked == nil {
		u.asked = map[string]nomad.Resources{}
	}
	u.asked[in.ID] = r
	return r, nil
}

// Forget implements usage.Reader.
func (u *usageReader) Forget(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.asked, id)
}
