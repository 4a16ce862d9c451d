package control

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// CountSetter is how the autoscaler sets counts in Nomad.
type CountSetter interface {
	// Scale sets the count and returns the new modify index; wadi.ErrConflict when index is
	// not the job's modify index any more.
	Scale(ctx context.Context, namespace, id string, count int, index uint64, message string) (uint64, error)
	// ScaledByHand reports whether count was set last by something other than Wadi, and
	// when. An error: that is not known, or not yet.
	ScaledByHand(ctx context.Context, namespace, id string, count int) (at time.Time, byHand bool, err error)
}

// Loads is what agents and instances report of the load of revisions.
type Loads interface {
	// Load fills in the revision's load by concurrency and by each of some metrics, over
	// windows that end about now. It returns how many instances report themselves ready;
	// known is false while a new leader has not been answered yet.
	Load(revision string, by []wadi.MetricTarget, stable, panicking time.Duration, into *scheduler.Loads) (ready int, known bool)
	// Confirm reads every source of the revision once more, so that what a pending
	// poll has not reported yet is known before a count is lowered.
	Confirm(ctx context.Context, revision string)
	// Ready reports whether an instance was ready when it was read last.
	Ready(instance string) bool
}

// Autoscaler decides how many instances each revision should have, and sets it
// in Nomad. Only the leader runs one, and a new one for each term.
type Autoscaler struct {
	Counts   CountSetter
	Cluster  UsableCluster
	Loads    Loads
	Orders   Orders                                     // Nil: counts are lowered whatever is in flight.
	Services func() *View                               // The controller's.
	Wakeable func(service string) (ok bool, why string) // Whether a request would wake it.
	Warming  func(revision string) int                  // The controller's; nil: no revision is warmed.
	Nodes    Nodes                                      // Nil: no node is known to drain.
	Wakes    Wakes                                      // Nil: scale calls do not yield to wakes.
	Backlog  Backlog                                    // Nil: revisions are evaluated by the clock alone.
	Memory   *Memory                                    // What has to survive this leader.

	Settings *Live // Nil: the zero Settings.
	History  *History
	Events   *Events
	Owned    *Owned
	Log      hclog.Logger
	Metrics  *Metrics

	poke     chan struct{}
	priority wakePriority

	// What follows is guarded by mu.
	mu       sync.Mutex
	view     *View // What the records were made from.
	records  map[string]*record
	all      []*record       // The same; replaced and never changed.
	draining map[string]bool // Revisions with draining instances.
}

const (
	evaluateEvery  = 2 * time.Second
	evaluateAtOnce = 8 // Revisions that wait for Nomad concurrently, in all passes together.
)

// NewAutoscaler returns an autoscaler whose other exported fields are to be set before Run.
func NewAutoscaler() *Autoscaler {
	return &Autoscaler{
		Memory: &Memory{}, poke: make(chan struct{}, 1), records: map[string]*record{}, draining: map[string]bool{},
		priority: wakePriority{slots: make(chan struct{}, evaluateAtOnce)},
	}
}

// Poke asks for an evaluation of all revisions now.
func (a *Autoscaler) Poke() {
	signal(a.poke)
}

// Run evaluates until ctx ends. Revisions with a backlog do not wait for the others,
// which may wait for Nomad.
func (a *Autoscaler) Run(ctx context.Context) error {
	var g sync.WaitGroup
	defer g.Wait()
	g.Go(func() { a.followBacklog(ctx) })
	g.Go(func() { a.followDraining(ctx) })
	tick := time.NewTicker(evaluateEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-a.poke:
		}
		a.Pass(ctx)
	}
}

// Pass evaluates all revisions once.
func (a *Autoscaler) Pass(ctx context.Context) {
	began := time.Now()
	a.mu.Lock()
	a.refresh()
	all := a.all
	a.mu.Unlock()
	a.evaluateAll(ctx, all)
	a.Metrics.pass.Observe(time.Since(began).Seconds())
}

// evaluateAll evaluates one revision after the other as long as none has to wait for
// Nomad or for instances, and then those that have to, concurrently.
func (a *Autoscaler) evaluateAll(ctx context.Context, all []*record) {
	var waiting []*record
	var own workspace
	for _, r := range all {
		if !r.mu.TryLock() {
			waiting = append(waiting, r)
			continue
		}
		if err := a.evaluate(ctx, r, &own, false); err != nil {
			waiting = append(waiting, r)
		}
		r.mu.Unlock()
	}
	var g errgroup.Group
	g.SetLimit(evaluateAtOnce)
	for _, r := range waiting {
		g.Go(func() error {
			defer a.priority.enter()()
			a.priority.yield(ctx, a.Wakes) // The decision comes after it.
			r.mu.Lock()
			defer r.mu.Unlock()
			var own workspace
			if err := a.evaluate(ctx, r, &own, true); err != nil && ctx.Err() == nil {
				a.Metrics.scaleError.Inc()
				a.Log.Error("scaling failed", "revision", r.subject.Load().id, "error", err)
			}
			return nil
		})
	}
	_ = g.Wait() // Each has reported its error.
}
