package activator

import (
	"errors"
	"time"

	"github.com/wadi-run/wadi"
)

// Bounds of waking one revision.
const (
	wakeTimeout  = 30 * time.Second // Of one call.
	wakeBackoff  = 50 * time.Millisecond
	wakeMaxDelay = 2 * time.Second
	// rewakeAfter is when a wake that brought no instance is repeated: another agent
	// may have set the count back to zero in between.
	rewakeAfter = 5 * time.Second
	// rewakeAfterLoss is the least time between two wakes when an instance was placed
	// and has ended again.
	rewakeAfterLoss = time.Second
	// maxPause bounds how long a revision is not woken because its image could not be had.
	maxPause = 5 * time.Minute
)

// waker decides when one revision is woken, and keeps how its wakes went: for the
// answers to requests that waited in vain, and for the phases of a cold start.
//
// At most one wake of a revision is queued or under way: from due to ended. A cold
// start lasts from the first request that waits with no instance ready until an
// instance is.
//
// Its revision's mutex guards it, and its revision locks. No method blocks.
type waker struct {
	coldSince time.Time // When the cold start began; zero: there is none.
	asked     bool      // A wake is queued or under way.
	askedAt   time.Time
	begunAt   time.Time // When the first wake began for which nothing is or was placed.
	unplaced  bool      // Nothing has been placed since begunAt.
	endedAt   time.Time // When the last wake ended.
	err       error     // Of the last wake; nil: it succeeded, or an instance became ready since.
	notBefore time.Time // When the next wake may be asked for.
	failures  int       // Wakes in a row that failed.
}

// due reports whether a wake is to be asked for now, and notes it as asked for.
// Otherwise next is when to call it again; zero: when the present wake has ended.
func (k *waker) due(now time.Time) (ask bool, next time.Time) {
	switch {
	case k.asked:
		return false, time.Time{}
	case k.notBefore.After(now):
		return false, k.notBefore
	}
	k.asked, k.askedAt = true, now
	return true, time.Time{}
}

// begin notes that a wake begins. What counts is the first one for which nothing is
// placed yet.
func (k *waker) begin(now time.Time) {
	if !k.unplaced {
		k.begunAt, k.unplaced = now, true
	}
}

// placed notes that an instance is placed, and returns how long after the beginning of
// its wake; ok is false if no wake has brought it.
func (k *waker) placed(now time.Time) (took time.Duration, ok bool) {
	if !k.unplaced {
		return 0, false
	}
	k.unplaced = false
	return now.Sub(k.begunAt), true
}

// ended notes the result of a wake.
func (k *waker) ended(err error, now time.Time) {
	k.asked = false
	k.endedAt, k.err = now, err
	if err == nil {
		k.failures = 0
		k.notBefore = now.Add(rewakeAfter)
		return
	}
	k.notBefore = now.Add(min(wakeBackoff<<min(k.failures, 10), wakeMaxDelay))
	k.failures++
	var paused *wadi.PullPausedError
	if errors.As(err, &paused) {
		k.notBefore = now.Add(min(paused.For, maxPause))
	}
}

// paused is the answer while no instance may be started, because the last wake was refused
// for an image that could not be had.
func (k *waker) paused(revision string, now time.Time) (Refusal, bool) {
	var paused *wadi.PullPausedError
	if !k.notBefore.After(now) || !errors.As(k.err, &paused) {
		return Refusal{}, false
	}
	left := *paused
	left.For = k.notBefore.Sub(now)
	return unplaceable(revision, &left)
}

// instancesLost notes that the last placed instance has ended or is to stop: the next
// wake need not wait for as long as for an instance that may yet be placed.
func (k *waker) instancesLost(now time.Time) {
	var paused *wadi.PullPausedError
	if errors.As(k.err, &paused) {
		return
	}
	soon := k.askedAt.Add(rewakeAfterLoss)
	if soon.Before(now) {
		soon = now
	}
	if soon.Before(k.notBefore) {
		k.notBefore = soon
	}
}

// beginCold notes that requests wait with no instance ready.
func (k *waker) beginCold(now time.Time) {
	if k.coldSince.IsZero() {
		k.coldSince = now
	}
}

// endCold notes that an instance is ready.
func (k *waker) endCold() {
	k.coldSince = time.Time{}
	k.failures = 0
	k.err = nil
}

// tried reports whether a wake has ended during the present cold start.
func (k *waker) tried() bool { return !k.endedAt.Before(k.coldSince) }

// blockedFor is for how long a reason has blocked the present cold start that holds since
// then: what hindered an earlier start need not hinder this one. It is zero if there is
// none.
func (k *waker) blockedFor(since, now time.Time) time.Duration {
	if k.coldSince.IsZero() {
		return 0
	}
	if since.Before(k.coldSince) {
		since = k.coldSince
	}
	return now.Sub(since)
}
