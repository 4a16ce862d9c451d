package activator

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy"
)

// probeIdle is how long after its last request a revision's instances are still
// probed into rotation.
const probeIdle = 10 * time.Second

// revision is what the activator knows of one revision: who waits, and which
// instances can take requests. Its loop runs only while somebody waits or an
// instance is known; requests that find a ready instance don't need it.
type revision struct {
	a        *Activator
	id       string
	service  string
	protocol wadi.Protocol

	settings atomic.Pointer[wadi.RouteRevision]
	recorder atomic.Pointer[proxy.Recorder]
	kick     chan struct{} // Tells the loop to look again.

	mu        sync.Mutex
	looping   bool
	closed    *Refusal // Set when it takes no more requests.
	waiting   waitList
	armed     time.Time            // When the loop wakes by itself; zero: not known to.
	instances map[string]*instance // By allocation.
	ready     []*instance
	next      int // Where the search for the least busy begins.
	live      int // Instances that Nomad has not been told to stop.
	inFlight  int
	used      time.Time // When a request last came or ended.
	paused    bool      // Some instance is neither ready nor probed, for want of requests.
	cold      cold
}

// cold is the state of one way up from nothing. Guarded by the revision's mutex.
type cold struct {
	since    time.Time // When requests began to wait with nothing ready; zero: something is.
	asked    bool      // A wake is queued or under way.
	askedAt  time.Time
	wokenAt  time.Time // When the last wake was answered.
	nextWake time.Time // Not before.
	failures int       // Wakes in a row that failed.
}

// grant is the right to send one request to an instance.
type grant struct {
	instance *instance
	turn     int // The instance's, when it was granted.
	timing   *timing
}

func newRevision(a *Activator, id, service string, p wadi.Protocol) *revision {
	return &revision{
		a: a, id: id, service: service, protocol: p,
		kick:      make(chan struct{}, 1),
		instances: make(map[string]*instance),
	}
}

// look makes a loop that runs look at everything again.
func (r *revision) look() { signal(r.kick) }

// take grants an instance at once, if there is a ready one and nobody waits.
func (r *revision) take(now time.Time, quiet bool) (grant, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed != nil || r.waiting.n > 0 {
		return grant{}, false
	}
	i := r.pick()
	if i == nil {
		return grant{}, false
	}
	if !quiet {
		r.touch(now)
	}
	return r.grant(i), true
}

// touch notes a request, so that instances are probed. The caller holds the mutex.
func (r *revision) touch(now time.Time) {
	r.used = now
	if r.paused {
		r.paused = false
		r.look()
	}
}

// grant counts a request on i. The caller holds the mutex.
func (r *revision) grant(i *instance) grant {
	i.inFlight++
	r.inFlight++
	return grant{instance: i, turn: i.turn}
}

// pick returns the ready instance with the least requests in flight that has
// room for one, nil if none has. The caller holds the mutex.
func (r *revision) pick() *instance {
	limit := r.settings.Load().ConcurrencyLimit
	var best *instance
	for n := range r.ready {
		i := r.ready[(r.next+n)%len(r.ready)]
		if limit > 0 && i.inFlight >= limit {
			continue
		}
		if best == nil || i.inFlight < best.inFlight {
			best = i
		}
	}
	r.next++
	return best
}

// serveWaiting grants what can be granted, in order. The caller holds the mutex.
func (r *revision) serveWaiting(now time.Time) {
	for r.waiting.head != nil {
		i := r.pick()
		if i == nil {
			return
		}
		w := r.waiting.head
		g := r.grant(i)
		g.timing = r.timing(w, i, now)
		r.leave(w, g, nil)
	}
}

// leave takes w out of the queue with what it waited for. The caller holds the mutex.
func (r *revision) leave(w *waiter, g grant, err error) {
	r.unqueue(w)
	if !w.quiet {
		r.used = time.Now()
	}
	w.grant, w.err = g, err
	close(w.done)
}

// unqueue frees w's place. The caller holds the mutex.
func (r *revision) unqueue(w *waiter) {
	r.waiting.remove(w)
	r.a.metrics.waiting.Dec()
}

// failWaiting refuses those that wait. The caller holds the mutex.
func (r *revision) failWaiting(err error) {
	for r.waiting.head != nil {
		r.leave(r.waiting.head, grant{}, err)
	}
}

// wait queues w, and returns when an instance is granted, the waiting is
// refused, or ctx ends. A request that was granted before goes to the front: it
// came before those that wait.
func (r *revision) wait(ctx context.Context, w *waiter, again bool) (grant, error) {
	if err := r.enqueue(w, again); err != nil {
		return grant{}, err
	}
	if !w.quiet {
		r.a.grew(r)
	}
	select {
	case <-w.done:
		return w.grant, w.err
	case <-ctx.Done():
	}
	r.mu.Lock()
	if w.queued {
		r.unqueue(w)
		r.mu.Unlock()
		return grant{}, ctx.Err()
	}
	r.mu.Unlock()
	if w.err == nil { // It was granted in the same moment.
		r.release(w.grant.instance)
	}
	return grant{}, ctx.Err()
}

func (r *revision) enqueue(w *waiter, again bool) error {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.shut(w, again); err != nil {
		return err
	}
	if !r.looping {
		r.looping = true
		r.armed = time.Time{}
	}
	if again {
		r.waiting.pushFront(w)
	} else {
		r.waiting.pushBack(w)
	}
	r.a.metrics.waiting.Inc()
	if !w.quiet {
		if r.waiting.n == 1 && now.Sub(r.used) > r.patience() {
			r.cold.since = time.Time{} // What hindered long ago may be over.
		}
		r.touch(now)
	}
	r.serveWaiting(now) // An instance may have become ready in between.
	if !w.queued {
		return nil
	}
	if r.waiting.n == 1 || r.waiting.loud == 1 || w.deadline.Before(r.armed) || w.conn != nil && r.armed.After(now.Add(goneEvery)) {
		r.look()
	}
	return nil
}

// shut says why w can't be queued, and starts the loop if it can. The caller holds
// the mutex. It is a function of its own, as what it needs of the stack would stay
// with every request that waits.
func (r *revision) shut(w *waiter, again bool) error {
	depth := r.settings.Load().Queue.Depth
	switch {
	case r.closed != nil:
		return *r.closed
	case w.quiet && r.atZero():
		return atZero()
	case !again && r.waiting.n >= depth:
		return full("as many requests wait for %s as may: %d", r.id, depth)
	case !r.looping && !r.a.start(r):
		return shuttingDown()
	}
	return nil
}

// atZero reports whether nothing is placed. The caller holds the mutex.
func (r *revision) atZero() bool {
	if r.looping {
		return r.live == 0
	}
	eps, _ := r.a.cfg.Endpoints.Endpoints(r.id)
	for _, ep := range eps {
		if !ep.Stopping && !ep.Ended {
			return false
		}
	}
	return true
}

// release ends a request on i, and serves who waits for its place.
func (r *revision) release(i *instance) {
	now := time.Now()
	r.mu.Lock()
	i.inFlight--
	r.inFlight--
	r.used = now
	r.serveWaiting(now)
	unused := i.gone && i.inFlight == 0
	r.mu.Unlock()
	if unused {
		i.close()
	}
}

// fail takes the instance of g out of rotation, unless it has been probed again
// since g was granted. The loop probes it back in.
func (r *revision) fail(g grant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := g.instance
	if !i.ready || i.turn != g.turn {
		return
	}
	r.unready(i)
	r.look()
}

// woken takes in how a wake ended.
func (r *revision) woken(err error, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &r.cold
	c.asked = false
	c.wokenAt = now
	if err == nil {
		c.failures = 0
		c.nextWake = now.Add(wakeAgain)
	} else {
		c.nextWake = now.Add(min(wakeBackoff<<min(c.failures, 10), wakeMaxDelay))
		c.failures++
		if f, ok := unplaceable(err); ok {
			r.failWaiting(f)
		}
	}
	r.look()
}

// retire refuses all requests from now on: the revision is not routed any more.
func (r *revision) retire() {
	r.close(Refusal{Status: http.StatusNotFound, Code: CodeNoRevision, Message: "revision " + r.id + " is not served any more"})
}

// stop refuses all requests from now on: the agent stops.
func (r *revision) stop() { r.close(shuttingDown()) }

func (r *revision) close(f Refusal) {
	r.mu.Lock()
	if r.closed == nil {
		r.closed = &f
	}
	r.failWaiting(f)
	r.mu.Unlock()
	r.look()
}
