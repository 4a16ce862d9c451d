package agent

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/calendar"
)

// Autoscaler decides how many instances each revision should have, and sets it
// in Nomad. Only the leader runs one, and a new one for each term.
type Autoscaler struct {
	Nomad     Nomad
	Cluster   Cluster
	Measure   Measure
	Services  func() map[string]*Stored                          // The controller's view.
	Remember  func(revision string, d wadi.Deciders, wanted int) // What has to survive this leader.
	WayBack   func(service string) (ok bool, why string)         // Whether a request would wake it.
	Grown     <-chan struct{}                                    // Signals that some queue grew.
	TakeGrown func() []string                                    // The revisions whose queues grew.

	Ceiling   int // The agent's bound of instances of one revision.
	Decisions *Decisions
	Events    *Events
	Owned     *Owned
	Log       hclog.Logger
	Metrics   *Metrics

	poke chan struct{}

	// memory is what is remembered of each revision, guarded by mu.
	mu     sync.Mutex
	memory map[string]*memory
}

// memory is the autoscaler's of one revision.
type memory struct {
	busy    sync.Mutex // One evaluation of a revision at a time.
	decider wadi.Deciders
	stored  wadi.Deciders      // As they were last told to Remember.
	clock   *calendar.Calendar // Of the service's schedules.
	wanted  int
	count   int       // When last seen, or set by this leader; -1: not seen yet.
	index   uint64    // Of the job, when count was seen.
	raised  time.Time // When the count was last seen to grow.
	hold    time.Time // Until when a count that somebody set by hand stands.
	toAsk   int       // How often Nomad may still be asked who set the present count; 0: that is known, or given up.
	held    time.Time // Until when the last hold that was seen lasts.
}

const (
	evaluateEvery  = 2 * time.Second
	evaluateAtOnce = 8 // Revisions evaluated concurrently: each may wait for Nomad.
)

// NewAutoscaler returns one whose exported fields are still to be set.
func NewAutoscaler() *Autoscaler {
	return &Autoscaler{poke: make(chan struct{}, 1), memory: map[string]*memory{}}
}

// Poke asks for an evaluation of all revisions now.
func (a *Autoscaler) Poke() {
	select {
	case a.poke <- struct{}{}:
	default:
	}
}

// Run evaluates until ctx ends. Revisions whose queues grow do not wait for the
// others, of which one may wait for Nomad.
func (a *Autoscaler) Run(ctx context.Context) error {
	var g sync.WaitGroup
	defer g.Wait()
	g.Go(func() { a.followGrowth(ctx) })
	tick := time.NewTicker(evaluateEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-a.poke:
		}
		if a.Cluster.Synced() {
			a.Pass(ctx)
		}
	}
}

// A queue that grew is looked at again and again for a while: what it holds is
// measured when the second is over, and averaged when all have told of that second.
const (
	growthFor   = 2500 * time.Millisecond
	growthEvery = 500 * time.Millisecond
)

func (a *Autoscaler) followGrowth(ctx context.Context) {
	growing := map[string]time.Time{} // Until when a revision is looked at.
	tick := time.NewTicker(growthEvery)
	defer tick.Stop()
	for {
		again := tick.C
		if len(growing) == 0 {
			again = nil
		}
		select {
		case <-ctx.Done():
			return
		case <-a.Grown:
		case <-again:
		}
		now := time.Now()
		maps.DeleteFunc(growing, func(_ string, until time.Time) bool { return now.After(until) })
		for _, id := range a.TakeGrown() {
			growing[id] = now.Add(growthFor)
		}
		if a.Cluster.Synced() {
			a.evaluateAll(ctx, a.dueOf(growing))
		}
	}
}

// dueOf finds revisions by their IDs.
func (a *Autoscaler) dueOf(ids map[string]time.Time) (all []due) {
	a.mu.Lock()
	defer a.mu.Unlock()
	services := a.Services()
	for id := range ids {
		name, _, _ := wadi.SplitRevisionID(id)
		s := services[name]
		if s == nil {
			continue
		}
		if i := slices.IndexFunc(s.Revisions, func(r wadi.Revision) bool { return r.ID == id }); i >= 0 {
			all = append(all, due{s, &s.Revisions[i], a.remembered(s, id)})
		}
	}
	return all
}

// due is a revision that is to be evaluated, and what is remembered of it.
type due struct {
	service  *Stored
	revision *wadi.Revision
	memory   *memory
}

// Pass evaluates all revisions once.
func (a *Autoscaler) Pass(ctx context.Context) {
	began := time.Now()
	a.mu.Lock()
	services := a.Services()
	all := make([]due, 0, max(len(services), len(a.memory)))
	for _, s := range services {
		for i := range s.Revisions {
			all = append(all, due{s, &s.Revisions[i], a.remembered(s, s.Revisions[i].ID)})
		}
	}
	gone := a.forget(all)
	a.mu.Unlock()
	a.Decisions.Forget(gone)
	a.evaluateAll(ctx, all)
	a.Metrics.pass.Observe(time.Since(began).Seconds())
}

func (a *Autoscaler) evaluateAll(ctx context.Context, all []due) {
	var next atomic.Int64
	var g sync.WaitGroup
	for range min(evaluateAtOnce, len(all)) {
		g.Go(func() {
			for i := next.Add(1); int(i) <= len(all); i = next.Add(1) {
				d := all[i-1]
				if err := a.evaluate(ctx, d.service, d.revision, d.memory); err != nil && ctx.Err() == nil {
					a.Metrics.scaleError.Inc()
					a.Log.Error("scaling failed", "revision", d.revision.ID, "error", err)
				}
			}
		})
	}
	g.Wait()
}

// forget drops the memory of revisions that are not among all, which are remembered,
// and returns them. The caller holds mu.
func (a *Autoscaler) forget(all []due) (gone []string) {
	if len(a.memory) == len(all) {
		return nil // As nearly always.
	}
	there := make(map[string]bool, len(all))
	for _, d := range all {
		there[d.revision.ID] = true
	}
	for r := range a.memory {
		if !there[r] {
			delete(a.memory, r)
			gone = append(gone, r)
		}
	}
	return gone
}

// remembered is the memory of a revision. The caller holds mu.
func (a *Autoscaler) remembered(s *Stored, revision string) *memory {
	m := a.memory[revision]
	if m == nil {
		st := s.State.Revisions[revision].Deciders
		m = &memory{decider: st, stored: st, count: -1, toAsk: askTries}
		a.memory[revision] = m
	}
	return m
}
