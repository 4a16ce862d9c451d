package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/calendar"
	"github.com/wadi-run/wadi/scheduler"
	"golang.org/x/sync/errgroup"
)

// Autoscaler decides how many instances each revision should have, and sets it
// in Nomad. Only the leader runs one, and a new one for each term.
type Autoscaler struct {
	Nomad     Nomad
	Cluster   Cluster
	Measure   Measure
	Services  func() map[string]Stored                                  // The controller's view.
	Remember  func(revision string, d wadi.Deciders, wanted int)        // What has to survive this leader.
	WayBack   func(ctx context.Context, s Stored) (ok bool, why string) // Whether a request would wake it.
	Grown     <-chan struct{}                                           // Signals that some queue grew.
	TakeGrown func() []string                                           // The revisions whose queues grew.

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

// Run evaluates until ctx ends.
func (a *Autoscaler) Run(ctx context.Context) error {
	tick := time.NewTicker(evaluateEvery)
	defer tick.Stop()
	for {
		var only map[string]bool
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-a.poke:
		case <-a.Grown:
			only = map[string]bool{}
			for _, r := range a.TakeGrown() {
				only[r] = true
			}
		}
		if a.Cluster.Synced() {
			a.pass(ctx, only)
		}
	}
}

// pass evaluates the given revisions, or all if only is nil.
func (a *Autoscaler) pass(ctx context.Context, only map[string]bool) {
	var g errgroup.Group
	g.SetLimit(evaluateAtOnce)
	services := a.Services()
	for _, s := range services {
		for _, r := range s.Revisions {
			if only != nil && !only[r.ID] {
				continue
			}
			g.Go(func() error {
				if err := a.evaluate(ctx, s, r); err != nil && ctx.Err() == nil {
					a.Metrics.scaleError.Inc()
					a.Log.Error("scaling failed", "revision", r.ID, "error", err)
				}
				return nil
			})
		}
	}
	_ = g.Wait()
	if only == nil {
		a.forget(services)
	}
}

// forget drops the memory of revisions that are gone.
func (a *Autoscaler) forget(services map[string]Stored) {
	keep := func(revision string) bool {
		name, _, _ := wadi.SplitRevisionID(revision)
		for _, r := range services[name].Revisions {
			if r.ID == revision {
				return true
			}
		}
		return false
	}
	a.mu.Lock()
	for r := range a.memory {
		if !keep(r) {
			delete(a.memory, r)
			name, _, _ := wadi.SplitRevisionID(r)
			a.Metrics.desired.DeleteLabelValues(name, r)
			a.Metrics.ready.DeleteLabelValues(name, r)
		}
	}
	a.mu.Unlock()
	a.Decisions.Forget(keep)
}

func (a *Autoscaler) remembered(r wadi.Revision, st wadi.RevisionState) *memory {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.memory[r.ID]
	if m == nil {
		m = &memory{decider: st.Deciders, stored: st.Deciders, count: -1}
		a.memory[r.ID] = m
	}
	return m
}

// evaluate decides about one revision and carries the decision out.
func (a *Autoscaler) evaluate(ctx context.Context, s Stored, r wadi.Revision) error {
	job := a.Cluster.Job(r.ID)
	st := s.State.Revisions[r.ID]
	if s.Deleting || !job.Running() || st.Phase == "" {
		return nil // The controller's business.
	}
	alive := alive(a.Cluster, r.ID)
	m := a.remembered(r, st)
	m.busy.Lock()
	defer m.busy.Unlock()
	a.noteCount(ctx, s, r, job, m)
	if alive == 0 && scheduler.AtRest(a.bounds(s, r, job, alive, m)) {
		return nil // Waking is the activators' alone: one wake, whoever leads.
	}

	in := a.input(ctx, s, r, job, alive, m)
	d, next := scheduler.Evaluate(in)
	if scheduler.Change(d) && d.Desired < d.Count {
		// What an open poll has not told yet must be known before instances go.
		a.Measure.Confirm(ctx, r.ID)
		in = a.input(ctx, s, r, job, alive, m)
		d, next = scheduler.Evaluate(in)
	}
	err := a.carryOut(ctx, s, r, job, &d)
	if worthStoring(next, m.stored) || d.Desired != m.wanted {
		a.Remember(r.ID, next, d.Desired)
		m.stored = next
	}
	m.decider, m.wanted = next, d.Desired
	if d.Carried {
		m.count = d.Desired
	}
	a.Decisions.Add(d)
	a.Metrics.desired.WithLabelValues(s.Service.Name, r.ID).Set(float64(d.Desired))
	a.Metrics.ready.WithLabelValues(s.Service.Name, r.ID).Set(float64(d.Ready))
	return err
}

// noteCount learns that somebody changed the count: when it grew, as what was
// measured before can't hold the reason, and whether a person did it, whose count
// stands for a while.
func (a *Autoscaler) noteCount(ctx context.Context, s Stored, r wadi.Revision, job scheduler.JobState, m *memory) {
	if job.Count > m.count && job.Count > 0 {
		m.raised = time.Now()
	}
	changed := m.count >= 0 && job.Count != m.count && job.Index > max(m.index, a.Owned.Made(r.ID))
	m.count, m.index = job.Count, job.Index
	hold := s.Service.Scale.ManualHold.D()
	if !changed || hold == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, actionTimeout)
	defer cancel()
	at, byHand, err := a.Nomad.ScaledByHand(ctx, s.Service.Namespace, r.ID, job.Count)
	if err != nil || !byHand {
		return // Not known to be a person's: decided as usual.
	}
	m.hold = at.Add(hold)
	a.Log.Info("count was set by hand", "revision", r.ID, "count", job.Count, "stands_until", m.hold)
	a.Events.Add(s.Service.Name, r.ID, "Held", fmt.Sprintf("somebody set %d in Nomad: it stands for %s (scale.manual_hold)", job.Count, hold))
}

// panicStep is how far the moment of panic may move before it is stored again.
const panicStep = 10 * time.Second

// worthStoring tells changes that a next leader has to know from a panic that is
// merely prolonged.
func worthStoring(next, stored wadi.Deciders) bool {
	like := maps.Clone(next)
	for m, d := range like {
		if was := stored[m].PanicSince; !d.PanicSince.IsZero() && !was.IsZero() && d.PanicSince.Sub(was) < panicStep {
			d.PanicSince = was
			like[m] = d
		}
	}
	return !reflect.DeepEqual(like, stored)
}

// bounds is what an evaluation is made from, but for what has to be measured.
func (a *Autoscaler) bounds(s Stored, r wadi.Revision, job scheduler.JobState, alive int, m *memory) scheduler.EvalInput {
	st := s.State.Revisions[r.ID]
	if sc := s.Service.Scale; m.clock == nil || !m.clock.Of(sc.Schedules) {
		m.clock, _ = calendar.New(sc.Schedules) // They were checked when they were submitted.
	}
	return scheduler.EvalInput{
		Revision: r.ID, Now: time.Now(),
		Scaling: s.Service.Scale, Calendar: m.clock, ConcurrencyLimit: r.Spec.ConcurrencyLimit, Ceiling: a.Ceiling,
		Routed: scheduler.Routed(s.Service, s.Route, r.ID, s.Latest, st.Phase),
		Failed: st.Phase == wadi.Failed, WasReady: st.Phase != wadi.Pending,
		Count: job.Count, Raised: m.raised, Starting: max(alive, job.Count), Hold: st.Hold, ByHandUntil: m.hold,
		Deciders: m.decider,
	}
}

func (a *Autoscaler) input(ctx context.Context, s Stored, r wadi.Revision, job scheduler.JobState, alive int, m *memory) scheduler.EvalInput {
	in := a.bounds(s, r, job, alive, m)
	in.Ready, in.ReadyKnown = min(a.Measure.ReadyCount(r.ID), alive), a.Measure.ReadyKnown(r.ID)
	in.Starting -= in.Ready
	in.Loads = a.loads(s, r)
	in.WayBack, in.WhyStranded = a.WayBack(ctx, s)
	return in
}

// loads reads what the service is scaled by, and the requests, which decide zero.
func (a *Autoscaler) loads(s Stored, r wadi.Revision) (l scheduler.Loads) {
	sc := s.Service.Scale
	window, panicking := sc.Window.D(), scheduler.PanicWindow(sc.Window.D(), sc.PanicWindowPercent)
	l.Concurrency = a.Measure.Averages(r.ID, wadi.Concurrency, window, panicking)
	for _, m := range sc.Metrics {
		if m.Metric == wadi.RPS {
			l.RPS = a.Measure.Averages(r.ID, wadi.RPS, window, panicking)
		}
	}
	return l
}

func (a *Autoscaler) carryOut(ctx context.Context, s Stored, r wadi.Revision, job scheduler.JobState, d *wadi.Decision) error {
	if !scheduler.Change(*d) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, actionTimeout)
	defer cancel()
	index, err := a.Nomad.Scale(ctx, s.Service.Namespace, r.ID, d.Desired, job.Index, d.Reason)
	if errors.Is(err, wadi.ErrConflict) {
		d.WhyNot = "somebody changed the job at the same time; decided anew"
		return nil
	} else if err != nil {
		d.WhyNot = err.Error()
		return fmt.Errorf("scale %s from %d to %d: %w", r.ID, d.Count, d.Desired, err)
	}
	a.Owned.Add(r.ID, index)
	d.Carried = true
	direction := "up"
	if d.Desired < d.Count {
		direction = "down"
	}
	a.Metrics.scales.WithLabelValues(direction).Inc()
	a.Log.Info("scaled", "revision", r.ID, "from", d.Count, "to", d.Desired, "rule", d.Rule, "reason", d.Reason)
	a.Events.Add(s.Service.Name, r.ID, "Scaled", fmt.Sprintf("%d to %d: %s", d.Count, d.Desired, d.Reason))
	return nil
}
