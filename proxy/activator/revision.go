package activator

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/hangup"
	"github.com/wadi-run/wadi/proxy/stats"
)

// revision is what the activator knows of one revision: a queue of requests, a pool of
// instances, and a waker. Its loop runs only while a request waits or an instance is
// known; requests that find an available instance don't need it.
//
// One mutex guards queue, pool, waker and inFlight together, as a request moves from one
// to the other at once. The revision locks; the four types never do. Methods of the
// revision whose comment says so are called with the mutex held.
type revision struct {
	a        *Activator
	id       string
	service  string
	protocol wadi.Protocol

	settings atomic.Pointer[wadi.RouteRevision]
	recorder atomic.Pointer[stats.Recorder]
	kick     chan struct{} // Signals the loop to make a pass.

	budgetUse budgetUse
	counters  [6]atomic.Pointer[prometheus.Counter] // Of requests answered, by class.

	mu       sync.Mutex
	queue    queue
	pool     pool
	waker    waker
	inFlight inFlight

	looping  bool
	nextPass time.Time // When the loop makes a pass by itself; zero: unknown.
	closed   *Refusal  // Set when no more requests are taken.
	activeAt time.Time // When a request that is not quiet last came or ended.
}

func newRevision(a *Activator, id, service string, p wadi.Protocol) *revision {
	r := &revision{
		a: a, id: id, service: service, protocol: p,
		kick:  make(chan struct{}, 1),
		queue: queue{waiting: a.metrics.waiting},
		pool:  pool{instances: make(map[string]*instance)},
	}
	r.inFlight.onTimer = r.expireInFlight
	return r
}

// pokeLoop has the loop, if it runs, make a pass.
func (r *revision) pokeLoop() { signal(r.kick) }

// tryGrant grants q an instance at once, if one is available and no request waits.
func (r *revision) tryGrant(q *request) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed != nil || r.queue.Len() > 0 {
		return false
	}
	i := r.pool.pick()
	if i == nil {
		return false
	}
	if !q.quiet {
		r.noteActivity(q.arrived)
	}
	r.grant(q, i, q.arrived)
	return true
}

// noteActivity notes a request, so that instances are probed. The caller holds the mutex.
func (r *revision) noteActivity(now time.Time) {
	r.activeAt = now
	if r.pool.probesPaused {
		r.pool.probesPaused = false
		r.pokeLoop()
	}
}

// grant gives q a slot of i. The caller holds the mutex.
func (r *revision) grant(q *request, i *instance, now time.Time) {
	r.pool.take(i)
	r.inFlight.add(q)
	q.grant = grant{instance: i, ejections: i.ejections, at: now, cold: q.grant.cold}
}

// grantWaiting grants instances to waiting requests while there are both, callers in
// turn. The caller holds the mutex.
func (r *revision) grantWaiting(now time.Time) {
	for r.queue.Len() > 0 {
		i := r.pool.pick()
		if i == nil {
			return
		}
		q := r.queue.next()
		if q.conn != nil && hangup.HasHungUp(q.conn) { // Since the last pass.
			r.cancel(q, clientGone())
			continue
		}
		r.queue.dequeue(q)
		r.noteDequeued(q)
		r.grant(q, i, now)
		q.grant.cold = r.waker.phases(q.arrived, i, now)
		close(q.done)
	}
}

// release ends q's time at its instance, and grants the slot to a waiting request. It
// returns when nothing else touches q's answer any more.
func (r *revision) release(q *request) {
	i := q.grant.instance
	now := time.Now()
	r.mu.Lock()
	if q.out.Status != 0 {
		i.failures = 0
	}
	r.inFlight.remove(q)
	expired := q.expired
	unused := r.pool.free(i)
	r.activeAt = now
	r.grantWaiting(now)
	r.mu.Unlock()
	if unused {
		i.close()
	}
	if expired != nil {
		<-expired
	}
}

// fail takes the instance of g out of rotation, unless that has happened since g was
// granted, and reports whether it did. The loop has it probed again.
func (r *revision) fail(g grant) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := g.instance
	if !i.ready || i.ejections != g.ejections {
		return false
	}
	r.pool.eject(i)
	i.failures++
	r.pokeLoop()
	return true
}

// retire refuses all requests from now on: the revision is not routed any more. Callers
// may come again: another revision may have taken its place.
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
	r.cancelAll(f)
	r.mu.Unlock()
	r.pokeLoop()
}

func (r *revision) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed != nil
}
