package activator

import (
	"context"
	"time"

	"github.com/wadi-run/wadi/proxy/deadline"
)

// inFlight is the requests of one revision that are at an instance, in the order in which
// they went there. One timer serves all their deadlines: most requests are over long
// before, and cost it nothing.
//
// The timer fires no later than the earliest deadline of a request in the list that has
// not expired. A request's expired is made when its deadline has passed, and closed when
// its connection has been given its last deadlines.
//
// Its revision's mutex guards it, and its revision locks. No method blocks.
type inFlight struct {
	requestList
	onTimer func()
	timer   *time.Timer
	firesAt time.Time // Zero: the timer does not run.
}

// add puts q into the list.
func (f *inFlight) add(q *request) {
	f.pushBack(q)
	if !q.deadline.IsZero() {
		f.fireAt(q.deadline)
	}
}

// fireAt has the timer fire at end, if not earlier.
func (f *inFlight) fireAt(end time.Time) {
	switch {
	case !f.firesAt.IsZero() && !end.Before(f.firesAt):
		return
	case f.timer == nil:
		f.timer = time.AfterFunc(time.Until(end), f.onTimer)
	default:
		f.timer.Reset(time.Until(end))
	}
	f.firesAt = end
}

// expire ends the contexts of the requests whose deadline has passed, and returns those
// requests. It sets the timer for the others.
func (f *inFlight) expire(now time.Time) (over []*request) {
	f.firesAt = time.Time{}
	var next time.Time
	for q := range f.All() {
		switch {
		case q.deadline.IsZero() || q.expired != nil:
		case !q.deadline.After(now):
			q.expired = make(chan struct{})
			q.ctx.End(context.Canceled, errDeadline)
			over = append(over, q)
		default:
			next = earliest(next, q.deadline)
		}
	}
	if !next.IsZero() {
		f.fireAt(next)
	}
	return over
}

// expireInFlight ends the requests at instances whose deadline has passed.
func (r *revision) expireInFlight() {
	r.mu.Lock()
	over := r.inFlight.expire(time.Now())
	r.mu.Unlock()
	for _, q := range over {
		q.out.limitAnswer()
		close(q.expired)
	}
}

// upgrade notes that q's connection was taken over: it has no deadline any more.
func (r *revision) upgrade(q *request, up *deadline.Upgraded) {
	r.mu.Lock()
	q.deadline, q.upgraded = time.Time{}, up
	r.mu.Unlock()
	if r.a.goingAway.Load() {
		go up.GoAway()
	}
}

// GoAway announces to both ends of upgraded connections that this agent stops; see
// [deadline.Tracker.GoAway]. Connections that are upgraded from now on get it at once.
func (a *Activator) GoAway() {
	a.goingAway.Store(true)
	for _, r := range *a.revisions.Load() {
		r.mu.Lock()
		for q := range r.inFlight.All() {
			if q.upgraded != nil {
				go q.upgraded.GoAway() // It ends with the connection at the latest.
			}
		}
		r.mu.Unlock()
	}
}
