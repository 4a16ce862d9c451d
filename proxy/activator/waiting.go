package activator

import (
	"context"
	"time"
)

// cancel ends the wait of q with an error. The caller holds the mutex.
func (r *revision) cancel(q *request, err error) {
	r.noteDequeued(q)
	if q.grant.at.IsZero() {
		q.grant.cold = r.waker.phases(q.arrived, r.pool.furthest(), time.Now())
	}
	r.queue.cancel(q, err)
}

// noteDequeued notes that q has left the queue. The caller holds the mutex.
func (r *revision) noteDequeued(q *request) {
	if !q.quiet {
		r.activeAt = time.Now()
	}
}

// cancelAll cancels all waiting requests. The caller holds the mutex.
func (r *revision) cancelAll(err error) {
	for q := range r.queue.All() {
		r.cancel(q, err)
	}
}

// wait enqueues q, and returns when q is granted an instance or canceled, or ctx ends.
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
	if r.queue.has(q) {
		r.queue.withdraw(q)
		r.noteDequeued(q)
		r.mu.Unlock()
		return ctx.Err()
	}
	r.mu.Unlock()
	if q.err == nil { // It was granted in the same moment.
		r.release(q)
	}
	return ctx.Err()
}

// enqueue puts q into the queue, or returns a Refusal.
func (r *revision) enqueue(q *request) error {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.admit(q); err != nil {
		return err
	}
	if !r.looping {
		r.looping = true
		r.nextPass = time.Time{}
	}
	r.queue.enqueue(q, q.sent.Load() > 0)
	if r.queue.Len() == 1 {
		r.pool.returnToShare(r.share(), now)
		r.waker.unplaced = false // It was about a wake for earlier requests.
	}
	if !q.quiet {
		if r.queue.Len() == 1 && now.Sub(r.activeAt) > r.patience("") {
			r.waker.coldSince = time.Time{} // What blocked it long ago may be over.
		}
		r.noteActivity(now)
	}
	r.grantWaiting(now) // An instance may have become available in between.
	if !r.queue.has(q) {
		return nil
	}
	if r.queue.Len() == 1 || r.queue.waking == 1 || q.waitDeadline.Before(r.nextPass) || q.conn != nil && r.nextPass.After(now.Add(disconnectEvery)) {
		r.pokeLoop()
	}
	return nil
}

// admit returns a Refusal if q can't be enqueued, and has the loop started if it does not
// run. The caller holds the mutex. It is a function of its own, as its part of the stack
// would stay with every request that waits.
func (r *revision) admit(q *request) error {
	depth := r.settings.Load().Queue.Depth
	switch {
	case r.closed != nil:
		return *r.closed
	case q.quiet && r.atZero():
		return atZero()
	case q.sent.Load() == 0 && r.queue.Len() >= depth && !r.displace(q.queueKey, depth):
		return depthReached(r.id, depth)
	case !r.looping && !r.a.start(r):
		return shuttingDown()
	}
	return nil
}

// displace cancels a request of the caller with the most, for one of a caller that has
// less than its share of the queue, and reports whether it did. The caller holds the mutex.
func (r *revision) displace(caller string, depth int) bool {
	q := r.queue.displaceable(caller)
	if q == nil {
		return false
	}
	r.cancel(q, depthReached(r.id, depth))
	return true
}

// atZero reports whether no instance is placed. The caller holds the mutex.
func (r *revision) atZero() bool {
	if r.looping {
		return r.pool.placed == 0
	}
	eps, _ := r.a.cfg.Endpoints.Endpoints(r.id)
	for _, ep := range eps {
		if !ep.Stopping && !ep.Ended {
			return false
		}
	}
	return true
}
