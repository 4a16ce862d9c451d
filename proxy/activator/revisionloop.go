package activator

import (
	"context"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/hangup"
)

const (
	// disconnectEvery is how often connections are checked that net/http doesn't watch.
	disconnectEvery = 250 * time.Millisecond
	// blockedEvery is how often a blocked reason is asked for while requests wait.
	blockedEvery = 500 * time.Millisecond
	// minPatience is the least time that a reason must have blocked the revision before
	// requests are refused for it.
	minPatience = time.Second
	// hopelessPatience is the most where only a person can help. A new instance has begun
	// to pull by then, and its pull is no reason.
	hopelessPatience = 3 * time.Second
	// probeIdle is how long after its last request a revision's instances are still
	// probed into rotation.
	probeIdle = 10 * time.Second
)

// run is the revision's loop. It ends when no request waits and no instance is known,
// or when ctx ends.
func (r *revision) run(ctx context.Context) {
	var probes sync.WaitGroup
	defer probes.Wait()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var changed <-chan struct{}
	for ctx.Err() == nil {
		if changed == nil || isClosed(changed) {
			var eps []wadi.Endpoint
			eps, changed = r.a.cfg.Endpoints.Endpoints(r.id)
			closeAll(r.syncPool(eps, time.Now()))
		}
		if r.isClosed() {
			closeAll(r.removeInstances())
		}
		for _, i := range r.startProbes(time.Now()) {
			pctx, cancel := context.WithCancel(ctx)
			i.setCancelProbe(cancel)
			probes.Go(func() {
				defer cancel()
				i.probe(pctx)
			})
		}
		next, over := r.pass(time.Now())
		if over {
			return
		}
		timer.Reset(time.Until(next))
		select {
		case <-changed:
		case <-r.kick:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	r.stop()
	closeAll(r.removeInstances())
}

// syncPool brings the pool in line with the placed instances, and returns those to be
// closed.
func (r *revision) syncPool(eps []wadi.Endpoint, now time.Time) (unused []*instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.pool.placed
	added, unused := r.pool.sync(eps, func(ep wadi.Endpoint) *instance { return newInstance(r, ep, now) })
	if added > 0 {
		if took, ok := r.waker.placed(now); ok {
			r.a.wakes.placed(took, now)
		}
	}
	if before > 0 && r.pool.placed == 0 {
		r.waker.instancesLost(now)
	}
	return unused
}

func (r *revision) removeInstances() (unused []*instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pool.removeAll()
}

// startProbes returns the instances whose probes have to be started now.
func (r *revision) startProbes(now time.Time) []*instance {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed != nil {
		return nil
	}
	return r.pool.startProbes(r.isActive(now))
}

// isActive reports whether requests are there or were not long ago, so that instances
// are probed. The caller holds the mutex.
func (r *revision) isActive(now time.Time) bool {
	return r.queue.Len() > 0 || r.inFlight.Len() > 0 || now.Sub(r.activeAt) < probeIdle
}

// pass grants what can be granted, cancels requests that can wait no longer, and asks for
// a wake if one is due. It returns when the next pass is to come at the latest, or that
// the loop is over.
func (r *revision) pass(now time.Time) (next time.Time, over bool) {
	if r.canBeBlocked() {
		r.checkBlocked(now)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.grantWaiting(now)
	next = earliest(now.Add(time.Hour), r.borrow(now))
	if why := r.settings.Load().Failed; why != "" {
		r.cancelAll(hasFailed(r.id, why)) // Another wake would not help.
	}
	next = earliest(next, r.expireWaiting(now))
	if r.queue.Len() == 0 && len(r.pool.instances) == 0 {
		r.looping = false
		r.nextPass = time.Time{}
		return next, true
	}
	r.nextPass = earliest(next, r.wakeIfCold(now))
	return r.nextPass, false
}

// expireWaiting cancels the waiting requests that can wait no longer. It returns when to
// call it again; zero: no need to. The caller holds the mutex.
func (r *revision) expireWaiting(now time.Time) (next time.Time) {
	for q := range r.queue.All() {
		switch {
		case !q.waitDeadline.After(now):
			r.cancel(q, r.waitedTooLong(q))
		case q.quiet && r.pool.placed == 0:
			r.cancel(q, atZero())
		case q.conn != nil && hangup.HasHungUp(q.conn):
			r.cancel(q, clientGone())
		default:
			next = earliest(next, q.waitDeadline)
			if q.conn != nil {
				next = earliest(next, now.Add(disconnectEvery))
			}
		}
	}
	return next
}

// wakeIfCold asks for a wake if requests wait that wake, and no instance is placed. It
// returns when to call it again; zero: no need to. The caller holds the mutex.
func (r *revision) wakeIfCold(now time.Time) (next time.Time) {
	if r.queue.waking == 0 {
		return time.Time{}
	}
	if r.pool.ready == 0 {
		r.waker.beginCold(now)
		next = now.Add(blockedEvery)
	}
	if r.pool.placed > 0 {
		return next
	}
	if f, paused := r.waker.paused(r.id, now); paused {
		r.cancelAll(f)
		return time.Time{}
	}
	ask, again := r.waker.due(now)
	if ask {
		r.a.wakes.ask(r, r.queue.First().arrived)
	}
	return earliest(next, again)
}

// wakeBegins notes that a wake begins.
func (r *revision) wakeBegins(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waker.begin(now)
}

// wakeEnded takes the result of a wake. A revision that can't run refuses its requests.
func (r *revision) wakeEnded(err error, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waker.ended(err, now)
	if f, ok := unplaceable(r.id, err); ok {
		r.cancelAll(f)
	}
	r.pokeLoop()
}

// canBeBlocked reports whether requests wait for an instance that is placed, or for one
// that a wake has asked for.
func (r *revision) canBeBlocked() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.queue.waking > 0 && r.pool.ready == 0 && (r.pool.placed > 0 || r.waker.tried())
}

// checkBlocked refuses the waiting requests if a reason has blocked the revision for as
// long as its patience lasts, while no instance was ready.
func (r *revision) checkBlocked(now time.Time) {
	d := r.a.cfg.Diagnoses.Diagnosis(r.id)
	if d.Reason == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pool.ready == 0 && r.waker.blockedFor(d.Since, now) >= r.patience(d.Pull) {
		r.cancelAll(cantRun(r.id, d.Reason, d.Pull))
	}
}

// patience is how long a reason must have blocked the revision before requests are
// refused for it: a quarter of the longest wait, and less if waiting for an image can't help.
func (r *revision) patience(pull wadi.PullFailure) time.Duration {
	most := max(minPatience, r.settings.Load().Queue.Timeout.D()/4)
	if pull.Hopeless() {
		return min(most, hopelessPatience)
	}
	return most
}

// waitedTooLong is the answer to q when its wait has lasted as long as it may. The
// caller holds the mutex.
func (r *revision) waitedTooLong(q *request) Refusal {
	set := r.settings.Load()
	switch {
	case !q.quiet && r.pool.placed == 0 && r.waker.err != nil:
		return notWoken(r.id, r.waker.err)
	case q.waitEndsWithRequest:
		return deadlineReached(set.Timeout.Request)
	}
	why := ""
	if q.caller != wadi.ServiceGateway && r.pool.placed > 0 { // Callers from outside need not know what an app lacks.
		why = r.pool.unreadyReason
	}
	return queueTimeout(r.id, set.Queue.Timeout, r.pool.ready, why)
}

// refusalWhenLate is waitedTooLong for a request that is not in the queue.
func (r *revision) refusalWhenLate(q *request) Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waitedTooLong(q)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// earliest is the earlier of two times; a zero time is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func closeAll(is []*instance) {
	for _, i := range is {
		i.close()
	}
}
