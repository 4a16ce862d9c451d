package activator

import "time"

// cold is the state of one way up from nothing. Guarded by the revision's mutex.
type cold struct {
	since    time.Time // When requests began to wait with nothing ready; zero: something is.
	asked    bool      // A wake is queued or under way.
	askedAt  time.Time
	begunAt  time.Time // When the first wake since was begun.
	unplaced bool      // Nothing was placed since that.
	wokenAt  time.Time // When it was answered.
	err      error     // How, if it failed.
	nextWake time.Time // Not before.
	failures int       // Wakes in a row that failed.
}

// wakeBegins notes that a wake was begun. What counts is the first one for which
// nothing is placed yet.
func (r *revision) wakeBegins(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.cold.unplaced {
		r.cold.begunAt, r.cold.unplaced = now, true
	}
}

// placed notes that an instance was placed. The caller holds the mutex.
func (r *revision) placed(now time.Time) {
	if r.cold.unplaced {
		r.cold.unplaced = false
		r.a.wakes.placed(now.Sub(r.cold.begunAt), now)
	}
}

// woken takes in how a wake ended.
func (r *revision) woken(err error, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &r.cold
	c.asked = false
	c.wokenAt, c.err = now, err
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
