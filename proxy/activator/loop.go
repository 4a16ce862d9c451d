package activator

import (
	"context"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
)

const (
	// goneEvery is how often connections are looked at that net/http doesn't watch.
	goneEvery = 250 * time.Millisecond
	// diagnosisEvery is how often Troubles is asked while requests wait.
	diagnosisEvery = 500 * time.Millisecond
	// diagnosisAtLeast bounds the patience with a trouble from below.
	diagnosisAtLeast = time.Second
	// wakeAfterLoss is the least time between two wakes when an instance was
	// there and has gone again.
	wakeAfterLoss = time.Second
)

// run is the revision's loop. It ends when nobody waits and no instance is
// known, or when ctx ends.
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
			closeAll(r.sync(eps, time.Now()))
		}
		if r.isClosed() {
			closeAll(r.dropAll())
		}
		for _, i := range r.toProbe(time.Now()) {
			pctx, cancel := context.WithCancel(ctx)
			i.stopProbe(cancel)
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
	closeAll(r.dropAll())
}

// sync takes in where the instances are, and returns those to be closed.
func (r *revision) sync(eps []wadi.Endpoint, now time.Time) (unused []*instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	had := r.live
	r.live = 0
	seen := make(map[string]bool, len(eps))
	for _, ep := range eps {
		if ep.Ended {
			continue
		}
		if !ep.Stopping {
			r.live++
		}
		if ep.Addr == "" {
			continue // Not placed so far that it could be dialled.
		}
		i := r.instances[ep.Instance]
		if i != nil && i.ep.Addr != ep.Addr {
			unused = append(unused, r.drop(i)...)
			i = nil
		}
		seen[ep.Instance] = true
		switch {
		case i == nil && !ep.Stopping:
			r.instances[ep.Instance] = newInstance(r, ep, now)
			r.placed(now)
		case i != nil && ep.Stopping && !i.stopping:
			i.stopping = true
			r.unready(i)
		}
	}
	for id, i := range r.instances {
		if !seen[id] {
			unused = append(unused, r.drop(i)...)
		}
	}
	if had > 0 && r.live == 0 {
		soon := r.cold.askedAt.Add(wakeAfterLoss)
		if soon.Before(now) {
			soon = now
		}
		if soon.Before(r.cold.nextWake) {
			r.cold.nextWake = soon
		}
	}
	return unused
}

// drop forgets i, and returns it if nothing is in flight on it. The caller holds the mutex.
func (r *revision) drop(i *instance) []*instance {
	i.gone = true
	r.unready(i)
	delete(r.instances, i.ep.Instance)
	if i.inFlight > 0 {
		return nil // The last of them closes it.
	}
	return []*instance{i}
}

func (r *revision) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed != nil
}

func (r *revision) dropAll() (unused []*instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range r.instances {
		unused = append(unused, r.drop(i)...)
	}
	return unused
}

// unready takes i out of rotation. The caller holds the mutex.
func (r *revision) unready(i *instance) {
	if i.ready {
		i.ready = false
		i.turn++
		r.ready--
		r.settle(i)
	}
	if i.cancelProbe != nil && (i.stopping || i.gone) {
		i.cancelProbe()
	}
}

// toProbe returns the instances whose probes have to be started now, marked as probed.
func (r *revision) toProbe(now time.Time) (start []*instance) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed != nil {
		return nil
	}
	for _, i := range r.instances {
		if i.ready || i.probing || i.stopping {
			continue
		}
		if !r.wantsProbes(now) {
			r.paused = true
			return nil
		}
		i.probing = true
		start = append(start, i)
	}
	return start
}

// wantsProbes reports whether requests are there or were not long ago. The
// caller holds the mutex.
func (r *revision) wantsProbes(now time.Time) bool {
	return r.waiting.Len() > 0 || r.serving.Len() > 0 || now.Sub(r.used) < probeIdle
}

// pass looks once at who waits: who waits too long, whether to wake, whether
// something hinders. It returns when to look again at the latest.
func (r *revision) pass(now time.Time) (next time.Time, over bool) {
	if r.coldAndWaiting() {
		r.checkDiagnosis(now)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	next = now.Add(time.Hour)
	r.serveWaiting(now)
	if again := r.lend(now); !again.IsZero() {
		next = earlier(next, again)
	}
	if why := r.settings.Load().Failed; why != "" {
		r.failWaiting(hasFailed(r.id, why)) // Waking it again would help nobody.
	}
	for q := range r.waiting.All() {
		switch {
		case !q.until.After(now):
			r.leave(q, r.late(q))
		case q.quiet && r.live == 0:
			r.leave(q, atZero())
		case q.conn != nil && hungUp(q.conn):
			r.leave(q, clientGone())
		default:
			next = earlier(next, q.until)
			if q.conn != nil {
				next = earlier(next, now.Add(goneEvery))
			}
		}
	}
	if r.waiting.Len() == 0 && len(r.instances) == 0 {
		r.looping = false
		r.armed = time.Time{}
		return next, true
	}
	if r.waiting.loud > 0 && r.ready == 0 {
		next = earlier(next, now.Add(diagnosisEvery))
		if r.cold.since.IsZero() {
			r.cold.since = now
		}
	}
	if r.waiting.loud > 0 && r.live == 0 && !r.cold.asked {
		if r.cold.nextWake.After(now) {
			next = earlier(next, r.cold.nextWake)
		} else {
			r.cold.asked, r.cold.askedAt = true, now
			r.a.wakes.ask(r, r.waiting.First().arrived)
		}
	}
	r.armed = next
	return next, false
}

func (r *revision) coldAndWaiting() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting.loud > 0 && r.ready == 0 && (r.live > 0 || !r.cold.wokenAt.Before(r.cold.since))
}

// checkDiagnosis refuses those that wait if what hinders the revision has lasted
// for a quarter of the longest wait, while nothing was ready.
func (r *revision) checkDiagnosis(now time.Time) {
	reason, since := r.a.cfg.Diagnoses.Diagnosis(r.id)
	if reason == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ready > 0 || r.cold.since.IsZero() {
		return
	}
	if since.Before(r.cold.since) {
		since = r.cold.since // What hindered an earlier start need not hinder this one.
	}
	if now.Sub(since) >= r.patience() {
		r.failWaiting(cantRun(r.id, reason))
	}
}

// lateNow is late for a request that is not in the queue.
func (r *revision) lateNow(q *request) Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.late(q)
}

// late is the answer to q when its waiting has lasted as long as it may. The caller
// holds the mutex.
func (r *revision) late(q *request) Refusal {
	set := r.settings.Load()
	switch {
	case !q.quiet && r.live == 0 && r.cold.err != nil:
		return notWoken(r.id, r.cold.err)
	case q.tooLong:
		return tooLong(set.Timeout.Request)
	}
	why := ""
	if q.caller != wadi.ServiceGateway && r.live > 0 { // Outside callers need not know what an app lacks.
		why = r.lacks
	}
	return queueTimeout(r.id, set.Queue.Timeout, r.ready, why)
}

// patience is how long a trouble must last before requests fail for it.
func (r *revision) patience() time.Duration {
	return max(diagnosisAtLeast, r.settings.Load().Queue.Timeout.D()/4)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func closeAll(is []*instance) {
	for _, i := range is {
		i.close()
	}
}
