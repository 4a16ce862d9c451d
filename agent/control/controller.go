// Package control executes what package scheduler decides: the leader's controller,
// autoscaler and sweeper, and the waker of every agent.
//
// It promises that each loop is level-triggered and can be stopped at any point: the
// next leader finds the same work to do. It decides nothing itself, and talks to Nomad,
// Consul and the instances only through the small interfaces that each loop declares.
package control

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/network"
	"github.com/wadi-run/wadi/scheduler"
)

// JobKeeper is how the controller keeps jobs in Nomad. Guarded calls return
// wadi.ErrConflict when index is not the job's modify index any more; an index of 0 means
// that the job must not exist.
type JobKeeper interface {
	JobReader
	// Register registers a stored job with count and returns the new modify index.
	Register(ctx context.Context, job json.RawMessage, count int, index uint64) (uint64, error)
	// Stop ends a job's instances and keeps the job. A job that does not exist is no error.
	// Nomad guards neither this nor Purge: callers read the job just before.
	Stop(ctx context.Context, namespace, id string) error
	// Purge stops a job and forgets it. A job that does not exist is no error.
	Purge(ctx context.Context, namespace, id string) error
	// Note adds a message to a job's scaling history, which Nomad's UI shows.
	Note(ctx context.Context, namespace, id, message string) error
}

// Meter is where the controller says what is measured, and reads which instances are ready.
type Meter interface {
	Notifier // Of a change of any instance's readiness.
	// Set replaces the revisions that are measured, and the sources of their statistics.
	Set(revisions []MeasuredRevision, sources []Source)
	// ReadyCount is the number of the revision's instances that report themselves ready.
	// known is false while a new leader has not been answered yet.
	ReadyCount(revision string) (ready int, known bool)
}

// StateWriter stores what the leader decides and sees. Its writes are check-and-set
// against what was read or written last.
type StateWriter interface {
	PutRoute(ctx context.Context, r wadi.Route) error
	PutState(ctx context.Context, service string, s wadi.State) error
	PutStatus(ctx context.Context, s wadi.Status) error
}

// ServiceRemover deletes what is stored, with the same guard as [StateWriter].
type ServiceRemover interface {
	DeleteRevision(ctx context.Context, service, id string) error
	Forget(ctx context.Context, service string) error
}

// Prefetches report how far the images of revisions are on the nodes.
type Prefetches interface {
	Prefetch(revision string) (p scheduler.Prefetch, known bool)
}

// Observers report what the conditions of a service show. Nothing is said about what a
// nil one would report.
type Observers struct {
	Callers   Callers
	Usage     UsageReader
	Instances InstanceReports
	Exposure  ExposureReports
	Exits     ExitReader
	Outcomes  OutcomeReader
	Domains   DomainReports
}

// Controller makes Nomad and Consul match what was submitted. Only the leader
// runs one, and a new one for each term, so that nothing of an old term is left.
type Controller struct {
	Jobs        JobKeeper
	Plans       DriftPlanner
	Cluster     UsableCluster
	ClusterNews Notifier
	Store       ServiceReader
	State       StateWriter
	Remover     ServiceRemover
	Network     network.Layer
	Edits       Edits // Nil: edits in the network layers are found at the recheck.
	Meter       Meter
	Agents      func() []Source // The activators' statistics.
	Observers   Observers
	Prefetches  Prefetches // Nil: no images are fetched.
	Memory      *Memory    // The autoscaler's, to be stored.

	URL      func(wadi.Service) string // Where callers outside the mesh reach a service; empty: nowhere.
	Settings *Live                     // Nil: the zero Settings.
	Acted    func()                    // Called after a pass that executed an action; may be nil.

	Events  *Events
	Owned   *Owned
	Log     hclog.Logger
	Metrics *Metrics

	inbox  inbox
	checks driftChecks // Of jobs that may have been edited.

	// What follows is owned by the goroutine of Run.
	services     map[string]*service
	loadFailures map[string]loadFailure // Services that could not be read.
	acted        bool                   // In this pass.
	recheck      time.Time              // When all network layers are read back again.

	snapshot    atomic.Pointer[View]
	notWakeable atomic.Pointer[map[string]string] // Services whose route no network layer carries, and why.
	warming     atomic.Pointer[map[string]int]    // By revision: the least instances for its share of the traffic.
}

const (
	passInterval   = 2 * time.Second       // Without news.
	passPause      = 20 * time.Millisecond // Between passes, however much news there is.
	networkRecheck = 30 * time.Second      // How soon drift in Consul is found.
	actionTimeout  = 10 * time.Second      // Of one call to Nomad or Consul.
	roundsPerPass  = 8
)

// Run makes passes until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	c.services, c.loadFailures = map[string]*service{}, map[string]loadFailure{}
	c.inbox.init()

	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.checks.ask, c.checks.answer = c.askDrift, c.inbox.touch
	c.checks.begin(ctx)
	defer c.checks.working.Wait()
	defer cancel()
	watchErr := make(chan error, 1)
	wg.Go(func() { watchErr <- c.Store.Watch(ctx, c.inbox.submitted) })

	tick := time.NewTicker(passInterval)
	defer tick.Stop()
	due := time.NewTimer(passInterval)
	defer due.Stop()
	var err error
	for news, more := true, true; more && ctx.Err() == nil; {
		next := c.nextNews()
		c.pass(ctx, news)
		due.Reset(c.untilStep(time.Now()))
		next.due = due.C
		news, more, err = c.wait(ctx, next, watchErr, tick.C)
	}
	return err
}

// newsChannels are closed at the next change of what a pass is about to read.
type newsChannels struct {
	cluster, meter, callers <-chan struct{}

	due <-chan time.Time // The next step of a rollout.
}

func (c *Controller) nextNews() newsChannels {
	n := newsChannels{cluster: c.ClusterNews.Changed(), meter: c.Meter.Changed()}
	if c.Observers.Callers != nil {
		n.callers = c.Observers.Callers.Changed()
	}
	return n
}

// wait blocks until another pass is due, and reports whether it concerns services at rest
// too. There is no more once the watch of the store has ended, with its error.
func (c *Controller) wait(ctx context.Context, next newsChannels, watchErr <-chan error, tick <-chan time.Time) (news, more bool, err error) {
	select {
	case <-ctx.Done():
	case err := <-watchErr:
		return false, false, err
	case <-next.cluster:
		news = true
		_ = wadi.Sleep(ctx, passPause)
	case <-next.callers:
		news = true
		_ = wadi.Sleep(ctx, passPause)
	case <-c.editNews():
		_ = wadi.Sleep(ctx, passPause)
		news = c.takeEdits()
	case <-next.meter:
		news = true
	case <-c.inbox.poke:
		news = true
	case <-c.inbox.nudge:
		_ = wadi.Sleep(ctx, passPause)
	case <-c.Memory.Changed():
		_ = wadi.Sleep(ctx, passPause)
	case <-next.due:
	case <-tick:
	}
	return news, true, nil
}

// Touch has a service reconciled soon, which may be at rest.
func (c *Controller) Touch(service string) { c.inbox.touch(service) }

// Poke asks for a pass now.
func (c *Controller) Poke() { c.inbox.pokeNow() }

// pass reconciles all services. Without news of the cluster it leaves out those at rest,
// which may be many.
func (c *Controller) pass(ctx context.Context, news bool) {
	dirty, touched := c.inbox.take()
	for _, name := range c.Memory.TakeChanged() {
		touched[name] = true
	}
	if now := time.Now(); !now.Before(c.recheck) {
		// All at once: the layers can then read what there is in a few calls.
		for _, s := range c.services {
			s.checked = false
		}
		c.recheck, news = now.Add(networkRecheck), true
	}
	if c.loadAll(ctx, dirty) {
		c.publish() // A new leader has thousands to reconcile: the autoscaler need not wait for that.
		c.notifyActed()
	}
	for _, name := range slices.Sorted(maps.Keys(c.services)) {
		s := c.services[name]
		if !c.Cluster.Usable(s.Service.Namespace) {
			s.resting = false // What is new by then concerns it.
			continue
		}
		if ctx.Err() != nil || time.Now().Before(s.retry) || s.resting && !news && !touched[name] {
			continue
		}
		err := c.reconcile(ctx, s)
		c.finishPass(ctx, s, err)
	}
	c.publish()
	if c.acted {
		c.notifyActed()
	}
	c.acted = false
}

// notifyActed has the autoscaler evaluate at once, and not at its next interval.
func (c *Controller) notifyActed() {
	if c.Acted != nil {
		c.Acted()
	}
}

// reconcile plans and executes until there is nothing left to do now.
func (c *Controller) reconcile(ctx context.Context, s *service) error {
	s.resting = false
	var seen scheduler.Observed
	for round := range roundsPerPass {
		if err := c.readBack(ctx, s); err != nil {
			return err
		}
		if s.Route.Deleted() && s.deletedRouteSince.IsZero() {
			s.deletedRouteSince = time.Now()
		}
		seen = c.observe(s)
		s.notePending(seen)
		seen.Began = s.pendingSince()
		d := s.desired()
		d.Retention = c.Settings.Now().Retention
		acts := scheduler.Plan(d, seen)
		if len(acts) == 0 {
			c.warm(s, seen)
			s.resting = round == 0 && s.atRest(seen)
			break
		}
		s.published = nil // Even if an action fails.
		for _, a := range acts {
			if err := c.execute(ctx, s, a); err != nil {
				return fmt.Errorf("%s %s: %w", a.Kind, cmp.Or(a.Revision, s.Service.Name), err)
			}
			c.acted = true
			if a.Kind == scheduler.ForgetService {
				return nil
			}
		}
	}
	return errors.Join(c.checks.failures(s.Revisions, seen), c.storeMemory(ctx, s))
}
