package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// Controller makes Nomad and Consul match what was submitted. Only the leader
// runs one, and a new one for each term, so that nothing of an old term is left.
type Controller struct {
	Nomad   Nomad
	Cluster Cluster
	Store   Store
	Network Network
	Edits   Edits // Nil: what is edited in the network layers is found at the recheck.
	Measure Measure
	Callers Callers                                       // Nil: nothing is said about intentions.
	Unread  func(revision string) string                  // Why what its instances use can't be read; empty: it is. Nil: nothing is said.
	Unready func(revision string) string                  // Why its instances are not ready, as they say themselves; empty: they don't. Nil: nothing is said.
	Exits   func(namespace, revision string) []wadi.Exit  // How its tasks ended that nobody told to, of which Nomad tells. Nil: nothing is said.
	Drains  func(revision string) string                  // What its instances that stop wait for, as they say themselves; empty: they don't. Nil: nothing is said.
	Wide    func(revision string) (at string, known bool) // Where its app can be reached past the queue-proxy; empty: nowhere. Nil: nothing is said.
	Agents  func() []Source                               // The activators' statistics.
	Events  *Events
	Owned   *Owned
	URL     func(wadi.Service) string // Where callers outside the mesh reach a service; empty: nowhere.
	Ages    scheduler.Retention       // How long revisions that are not routed are kept.
	Done    func()                    // Called when an action was executed; may be nil.
	Log     hclog.Logger
	Metrics *Metrics

	// Unshielded says why the network of a revision's instances lets in everybody, though
	// it shall not; empty: no reason. Nil: nothing is said.
	Unshielded func(revision string) (why string, known bool)

	// services is owned by the goroutine of Run.
	services map[string]*service
	acted    bool                // In this pass; of the same goroutine.
	recheck  time.Time           // When all are read back again; of the same goroutine.
	unloaded map[string]unloaded // Services that could not be read; of the same goroutine.
	// dirty holds services that somebody submitted or deleted, told those that the
	// autoscaler said something of; guarded by mu.
	mu    sync.Mutex
	dirty map[string]bool
	told  map[string]bool
	poke  chan struct{}
	tell  chan struct{} // Signals that told has something.
	// deciders and wanted are what the autoscaler tells, guarded by mu.
	deciders map[string]wadi.Deciders
	wanted   map[string]int

	snapshot    atomic.Pointer[View]
	notWakeable atomic.Pointer[map[string]string] // Services whose route no network layer carries, and why.
	checks      checks                            // Of jobs that may have been edited.
}

// service is what the controller knows of one service.
type service struct {
	wadi.Stored
	shown      *wadi.Stored // A copy that is not changed; nil: to be made, as something of Stored has changed.
	programmed bool
	leftovers  bool
	whyNot     string    // Why the route is not programmed.
	barred     bool      // It can't be: what is in the way is somebody else's.
	edited     bool      // It was, and somebody has edited something since.
	fights     int       // Such edits, each soon after the one before was undone.
	checked    bool      // The network layers were read back, not long ago.
	resting    bool      // The last pass had nothing to do, and only news will change that.
	applied    time.Time // When the stored route was last written to them.
	emptied    time.Time // Since when the layers are to lead nobody to it any more; zero: they may.
	retry      time.Time // Not before then, after an error.
	backoff    time.Duration
	problem    string          // The last pass's error.
	history    []wadi.Event    // What was stored before this term.
	since      time.Time       // Of the term's first event.
	waits      map[string]wait // Of its pending revisions.

	keptOut      []string                // Of Wadi's own, by intentions that others write.
	callersKnown bool                    // What keptOut says is known.
	warned       map[warning]bool        // What was told of revisions that are or were in exposed.
	exposed      map[string]exposure     // By revision: how callers may get past its queue-proxies.
	unread       []string                // Revisions whose instances' usage can't be read, and why.
	purged       map[string]uint64       // By revision: the index of the job that was purged last.
	limited      map[string]string       // By revision: that a client of Nomad ends drains early.
	exits        map[string]*exitLog     // By revision: how its tasks ended of late.
	diagnoses    map[string][]pastReason // By revision: what was told of late, the latest last.
}

const (
	passInterval   = 2 * time.Second       // Without any news.
	settleTime     = 20 * time.Millisecond // Between passes, however much news there is.
	networkRecheck = 30 * time.Second      // How soon drift in Consul is found.
	actionTimeout  = 10 * time.Second      // Of one call to Nomad or Consul.
	roundsPerPass  = 8
)

// Run makes passes until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	c.services, c.dirty, c.poke = map[string]*service{}, map[string]bool{}, make(chan struct{}, 1)
	c.unloaded = map[string]unloaded{}
	c.mu.Lock()
	c.tell = make(chan struct{}, 1)
	c.deciders, c.wanted, c.told = map[string]wadi.Deciders{}, map[string]int{}, map[string]bool{}
	c.mu.Unlock()

	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.checks.ask, c.checks.answer = c.askDrift, c.tellOf
	c.checks.begin(ctx)
	defer c.checks.working.Wait()
	defer cancel()
	watchErr := make(chan error, 1)
	wg.Go(func() { watchErr <- c.Store.Watch(ctx, c.markDirty) })

	tick := time.NewTicker(passInterval)
	defer tick.Stop()
	for news := true; ctx.Err() == nil; {
		cluster, measure, callers := c.Cluster.Changed(), c.Measure.Changed(), c.callersChanged()
		c.pass(ctx, news)
		news = false
		select {
		case <-ctx.Done():
		case err := <-watchErr:
			return err
		case <-cluster:
			news = true
			pause(ctx, settleTime)
		case <-callers:
			news = true
			pause(ctx, settleTime)
		case <-c.editNews():
			pause(ctx, settleTime)
			news = c.takeEdits() || news
		case <-measure:
			news = true
		case <-c.poke:
			news = true
		case <-c.tell:
			pause(ctx, settleTime)
		case <-tick.C:
		}
	}
	return nil
}

func (c *Controller) markDirty(names []string) {
	c.mu.Lock()
	for _, n := range names {
		c.dirty[n] = true
	}
	c.mu.Unlock()
	c.Poke()
}

// Poke asks for a pass now.
func (c *Controller) Poke() {
	select {
	case c.poke <- struct{}{}:
	default:
	}
}

// Services returns an immutable view of all services, for the autoscaler; nil: there
// is none yet.
func (c *Controller) Services() *View { return c.snapshot.Load() }

// Wakeable reports whether the network layers bring requests for the service to an
// activator when no instance of it runs.
func (c *Controller) Wakeable(service string) (ok bool, why string) {
	p := c.notWakeable.Load()
	if p == nil {
		return false, "nothing is known of its route yet"
	}
	why, notWakeable := (*p)[service]
	return !notWakeable, why
}

// Remember stores what the autoscaler's decision of a revision has to keep, soon:
// another may lead the moment after.
func (c *Controller) Remember(revision string, d wadi.Deciders, wanted int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deciders[revision], c.wanted[revision] = d, wanted
	service, _, _ := wadi.SplitRevisionID(revision)
	c.note(service)
}

// tellOf has a service looked at, which may be at rest.
func (c *Controller) tellOf(service string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note(service)
}

// note does, with mu held.
func (c *Controller) note(service string) {
	c.told[service] = true
	select {
	case c.tell <- struct{}{}:
	default:
	}
}

// pass looks at all services; without news of the cluster not at those at rest,
// of which there may be many.
func (c *Controller) pass(ctx context.Context, news bool) {
	c.mu.Lock()
	dirty, told := c.dirty, c.told
	c.dirty, c.told = map[string]bool{}, map[string]bool{}
	c.mu.Unlock()
	if now := time.Now(); !now.Before(c.recheck) {
		// All at once: the layers can then read what there is in a few calls.
		for _, s := range c.services {
			s.checked = false
		}
		c.recheck, news = now.Add(networkRecheck), true
	}
	if c.loadAll(ctx, dirty) {
		c.publish() // A new leader has thousands to look at: those who scale need not wait for that.
		c.tellScaler()
	}
	for _, name := range slices.Sorted(maps.Keys(c.services)) {
		s := c.services[name]
		if !c.Cluster.Usable(s.Service.Namespace) {
			s.resting = false // What is news now is looked at then.
			continue
		}
		if ctx.Err() != nil || time.Now().Before(s.retry) || s.resting && !news && !told[name] {
			continue
		}
		err := c.reconcile(ctx, s)
		c.settle(ctx, s, err)
	}
	c.publish()
	if c.acted {
		c.tellScaler()
	}
	c.acted = false
}

// tellScaler: the autoscaler need not wait for its next turn.
func (c *Controller) tellScaler() {
	if c.Done != nil {
		c.Done()
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
		if s.Route.Deleted() && s.emptied.IsZero() {
			s.emptied = time.Now()
		}
		seen = c.observe(s)
		s.noteWaits(seen)
		seen.Began = s.began()
		acts := scheduler.Plan(scheduler.Desired{
			Service: s.Service, Latest: s.Latest, Attempt: s.Attempt, Deleting: s.Deleting, Revisions: s.Revisions, State: s.State,
			Retention: c.Ages,
		}, seen)
		if len(acts) == 0 {
			s.resting = round == 0 && s.settled(seen)
			break
		}
		s.shown = nil // Whatever comes of it.
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
	return errors.Join(c.checks.failures(s.Revisions, seen), c.storeDeciders(ctx, s))
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
