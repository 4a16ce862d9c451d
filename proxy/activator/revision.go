package activator

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/stats"
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
	recorder atomic.Pointer[stats.Recorder]
	kick     chan struct{} // Tells the loop to look again.

	room     tenant
	counters [6]atomic.Pointer[prometheus.Counter] // Of requests answered, by class.

	mu        sync.Mutex
	looping   bool
	closed    *Refusal // Set when it takes no more requests.
	waiting   waitQueue
	serving   queue                // At instances, in the order in which they went there.
	armed     time.Time            // When the loop wakes by itself; zero: not known to.
	instances map[string]*instance // By allocation.
	ready     int                  // Instances in rotation.
	open      []*instance          // Those of them that have room, in no order.
	bound     int                  // Requests that an instance may have at once; 0 is any number.
	lentAt    time.Time            // When more than the share was last taken.
	live      int                  // Instances that Nomad has not been told to stop.
	used      time.Time            // When a request last came or ended.
	paused    bool                 // Some instance is neither ready nor probed, for want of requests.
	lacks     string               // What the instance that was not ready last lacks; empty: nothing is known.
	cold      cold
	expiry    *time.Timer // Looks at the ends of those at instances.
	expiryAt  time.Time   // When it does; zero: it does not.
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

// take grants q an instance at once, if one has room and nobody waits.
func (r *revision) take(q *request) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed != nil || r.waiting.Len() > 0 {
		return false
	}
	i := r.pick()
	if i == nil {
		return false
	}
	if !q.quiet {
		r.touch(q.arrived)
	}
	r.send(q, i, q.arrived)
	return true
}

// touch notes a request, so that instances are probed. The caller holds the mutex.
func (r *revision) touch(now time.Time) {
	r.used = now
	if r.paused {
		r.paused = false
		r.look()
	}
}

// send grants i to q, and counts it there. The caller holds the mutex.
func (r *revision) send(q *request, i *instance, now time.Time) {
	i.inFlight++
	r.settle(i)
	r.serving.pushBack(q)
	if !q.end.IsZero() {
		r.expireAt(q.end)
	}
	q.grant = grant{instance: i, turn: i.turn, at: now, cold: q.grant.cold}
}

// serveWaiting grants what can be granted: callers take turns. The caller holds the mutex.
func (r *revision) serveWaiting(now time.Time) {
	for r.waiting.Len() > 0 {
		i := r.pick()
		if i == nil {
			return
		}
		q := r.waiting.next()
		if q.conn != nil && hungUp(q.conn) { // Since the loop last looked.
			r.leave(q, clientGone())
			continue
		}
		r.waiting.take(q)
		r.unqueued(q)
		r.send(q, i, now)
		q.grant.cold = r.phases(q, i, now)
		close(q.done)
	}
}

// leave takes q out of the queue, refused. The caller holds the mutex.
func (r *revision) leave(q *request, err error) {
	r.unqueue(q)
	q.err = err
	if q.grant.at.IsZero() {
		q.grant.cold = r.phasesInVain(q, time.Now())
	}
	close(q.done)
}

// unqueue frees q's place in the queue. The caller holds the mutex.
func (r *revision) unqueue(q *request) {
	r.waiting.leave(q)
	r.unqueued(q)
}

// unqueued notes that q waits no longer. The caller holds the mutex.
func (r *revision) unqueued(q *request) {
	r.a.metrics.waiting.Dec()
	if !q.quiet {
		r.used = time.Now()
	}
}

// failWaiting refuses those that wait. The caller holds the mutex.
func (r *revision) failWaiting(err error) {
	for q := range r.waiting.All() {
		r.leave(q, err)
	}
}

// wait queues q, and returns when an instance is granted, the waiting is
// refused, or ctx ends.
func (r *revision) wait(ctx context.Context, q *request) error {
	if err := r.enqueue(q); err != nil {
		return err
	}
	if !q.quiet {
		r.a.backlog.Add(r.id)
	}
	select {
	case <-q.done:
		return q.err
	case <-ctx.Done():
	}
	r.mu.Lock()
	if r.waiting.has(q) {
		r.unqueue(q)
		r.mu.Unlock()
		return ctx.Err()
	}
	r.mu.Unlock()
	if q.err == nil { // It was granted in the same moment.
		r.release(q)
	}
	return ctx.Err()
}

func (r *revision) enqueue(q *request) error {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.shut(q); err != nil {
		return err
	}
	if !r.looping {
		r.looping = true
		r.armed = time.Time{}
	}
	r.waiting.enter(q, q.sent.Load() > 0)
	r.a.metrics.waiting.Inc()
	if r.waiting.Len() == 1 {
		r.takeBack(now)
		r.cold.unplaced = false // It was for those that wait no longer.
	}
	if !q.quiet {
		if r.waiting.Len() == 1 && now.Sub(r.used) > r.patience() {
			r.cold.since = time.Time{} // What hindered long ago may be over.
		}
		r.touch(now)
	}
	r.serveWaiting(now) // An instance may have become ready in between.
	if !r.waiting.has(q) {
		return nil
	}
	if r.waiting.Len() == 1 || r.waiting.loud == 1 || q.until.Before(r.armed) || q.conn != nil && r.armed.After(now.Add(goneEvery)) {
		r.look()
	}
	return nil
}

// shut says why q can't be queued, and starts the loop if it can. The caller holds
// the mutex. It is a function of its own, as what it needs of the stack would stay
// with every request that waits.
func (r *revision) shut(q *request) error {
	depth := r.settings.Load().Queue.Depth
	switch {
	case r.closed != nil:
		return *r.closed
	case q.quiet && r.atZero():
		return atZero()
	case q.sent.Load() == 0 && r.waiting.Len() >= depth && !r.displace(q.from, depth):
		return tooMany(r.id, depth)
	case !r.looping && !r.a.start(r):
		return shuttingDown()
	}
	return nil
}

// displace refuses a request of the caller with the most, for one of a caller that has
// less than its share of the queue, and reports whether it did. The caller holds the mutex.
func (r *revision) displace(caller string, depth int) bool {
	q := r.waiting.displaced(caller)
	if q == nil {
		return false
	}
	r.leave(q, tooMany(r.id, depth))
	return true
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

// release ends q's time at its instance, and serves who waits for the place. It
// returns when nobody else touches q's answer any more.
func (r *revision) release(q *request) {
	i := q.grant.instance
	now := time.Now()
	r.mu.Lock()
	i.inFlight--
	if q.out.status != 0 {
		i.failures = 0
	}
	r.serving.remove(q)
	expired := q.expired
	r.settle(i)
	r.used = now
	r.serveWaiting(now)
	unused := i.gone && i.inFlight == 0
	r.mu.Unlock()
	if unused {
		i.close()
	}
	if expired != nil {
		<-expired
	}
}

// fail takes the instance of g out of rotation, unless it has been probed again
// since g was granted, and reports whether it did. The loop probes it back in.
func (r *revision) fail(g grant) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := g.instance
	if !i.ready || i.turn != g.turn {
		return false
	}
	r.unready(i)
	i.failures++
	r.look()
	return true
}

// retire refuses all requests from now on: the revision is not routed any more. Those
// that wait may come again: another one may have its place.
func (r *revision) retire() {
	r.close(Refusal{Status: http.StatusServiceUnavailable, Code: CodeNoRevision, RetryAfter: retrySoon,
		Message: "revision " + r.id + " is not served any more"})
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
