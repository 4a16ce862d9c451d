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
	JobEmptier
	// Register registers a stored job with count and returns the new modify index.
	Register(ctx context.Context, job json.RawMessage, count int, index uint64) (uint64, error)
	// Stop ends a job's instances and keeps the job. A job that does not exist is no error.
	// Nomad guards neither this nor Purge: callers set the count to zero just before, or see
	// that it is.
	Stop(ctx context.Context, namespace, id string) error
	// Purge stops a job and forgets it. A job that does not exist is no error.
	Purge(ctx context.Context, namespace, id string) error
	// Note adds a message to a job's scaling history, which Nomad's UI shows.
	Note(ctx context.Context, namespace, id, message string) error
}

// Meter is where the controller says what is measured, and reads which instances are ready.
type Meter interface {
	ServiceNews // Of changes of instances' readiness.
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
	ClusterNews ServiceNews
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
	agents       []Source               // As the meter was told last,
	told         [3]int                 // and of how many services, revisions and sources,
	toldAt       time.Time              // and when.
	passes       uint64
	wholeBegan   time.Time // When the reconciling of all services began that is under way; zero: none is.
	recheck      time.Time // When all network layers are read back again.

	snapshot    atomic.Pointer[View]
	notWakeable atomic.Pointer[map[string]string] // Services whose route no network layer carries, and why.
	warming     atomic.Pointer[map[string]int]    // By revision: the least instances for its share of the traffic.
}

const (
	passInterval   = 2 * time.Second       // Without news.
	passPause      = 20 * time.Millisecond // Between passes, however much news there is.
	networkRecheck = 30 * time.Second      // How soon drift in Consul is found.
	actionTimeout  = 10 * time.Second      // Of one call to Nomad or Consul.
	passBudget     = time.Second           // After which a pass leaves the rest of the services to the next one.
	roundsPerPass  = 8
)

// Run makes passes until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	watchErr, wait := c.begin(ctx)
	defer wait()
	defer cancel()
	tick := time.NewTicker(passInterval)
	defer tick.Stop()
	due := time.NewTimer(passInterval)
	defer due.Stop()
	var err error
	for news, more := true, true; more && ctx.Err() == nil; {
		next := c.nextNews()
		c.pass(ctx, c.takeNews() || news)
		due.Reset(c.untilStep(time.Now()))
		next.due = due.C
		news, more, err = c.wait(ctx, next, watchErr, tick.C)
	}
	return err
}

// begin prepares c for passes until ctx ends. The watch of the store reports its end to
// watchErr; wait waits for what begin started.
func (c *Controller) begin(ctx context.Context) (watchErr <-chan error, wait func()) {
	c.services, c.loadFailures = map[string]*service{}, map[string]loadFailure{}
	c.inbox.init()
	c.checks.ask, c.checks.answer = c.askDrift, c.inbox.touch
	c.checks.begin(ctx)
	var wg sync.WaitGroup
	ended := make(chan error, 1)
	wg.Go(func() { ended <- c.Store.Watch(ctx, c.inbox.submitted) })
	return ended, func() {
		c.checks.working.Wait()
		wg.Wait()
	}
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

// takeNews has the services reconciled that news of Nomad and of instances are about, though
// they are at rest. It reports whether any service may be among them. It is called after
// nextNews, so that what changes from then on is news to the next pass.
func (c *Controller) takeNews() (all bool) {
	for _, news := range []ServiceNews{c.ClusterNews, c.Meter} {
		names, any := news.TakeChanged()
		c.inbox.noteTouched(names)
		all = all || any
	}
	return all
}

// wait blocks until another pass is due, and reports whether it concerns services at rest
// too. There is no more once the watch of the store has ended, with its error.
func (c *Controller) wait(ctx context.Context, next newsChannels, watchErr <-chan error, tick <-chan time.Time) (news, more bool, err error) {
	select {
	case <-ctx.Done():
	case err := <-watchErr:
		return false, false, err
	case <-next.cluster: // See takeNews.
		_ = wadi.Sleep(ctx, passPause)
	case <-next.callers:
		news = true
		_ = wadi.Sleep(ctx, passPause)
	case <-c.editNews():
		_ = wadi.Sleep(ctx, passPause)
		news = c.takeEdits()
	case <-next.meter: // See takeNews.
	case <-c.inbox.poke:
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
		c.recheck, c.wholeBegan, news = now.Add(networkRecheck), now, true
	}
	if c.loadAll(ctx, dirty) {
		c.publish() // A new leader has thousands to reconcile: the autoscaler need not wait for that.
		c.notifyActed()
	}
	c.passes++
	began, left := time.Now(), false
	for i, s := range c.due(news, touched) {
		if i > 0 && time.Since(began) >= passBudget { // What is newer may be urgent. These go on with the next pass.
			s.resting, left = false, true
			continue
		}
		if ctx.Err() != nil {
			continue
		}
		s.passed = c.passes
		s.measured.stale = true
		err := c.reconcile(ctx, s)
		c.finishPass(ctx, s, err)
		c.Metrics.reconciles.Inc()
	}
	if left {
		c.inbox.pokeNow()
	} else if !c.wholeBegan.IsZero() {
		c.Metrics.whole.Set(time.Since(c.wholeBegan).Seconds())
		c.wholeBegan = time.Time{}
	}
	c.publish()
	if c.acted {
		c.notifyActed()
	}
	c.acted = false
}

// due are the services that a pass reconciles: first those that something is known to have
// happened to, and then those that have waited longest.
func (c *Controller) due(news bool, touched map[string]bool) (all []*service) {
	usable, now := map[string]bool{}, time.Now() // By namespace: there are few.
	for name, s := range c.services {
		ns := s.Service.Namespace
		ok, known := usable[ns]
		if !known {
			ok = c.Cluster.Usable(ns)
			usable[ns] = ok
		}
		if news || touched[name] || !ok {
			s.measured.stale = true // Its instances are measured even while it can't be reconciled.
		}
		switch {
		case !ok:
			s.resting = false // What is new by then concerns it.
		case !now.Before(s.retry) && (!s.resting || news || touched[name]):
			if touched[name] {
				s.passed = 0
			}
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b *service) int {
		return cmp.Or(cmp.Compare(a.passed, b.passed), cmp.Compare(a.Service.Name, b.Service.Name))
	})
	return all
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
