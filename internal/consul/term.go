package consul

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/wadi-run/wadi"
)

// lockPoll is how often a leader has its lock confirmed.
const lockPoll = time.Second

// Lock is a key and the session that holds it.
type Lock struct{ Key, Session string }

// Held is the operation that makes a transaction fail with [wadi.ErrNotLeading] unless the
// lock is held: Consul decides that, whatever its holder believes.
func (l Lock) Held() Op { return Op{Verb: MustHold, Key: l.Key, Session: l.Session} }

// Term is one agent's time of leading. It is safe for concurrent use.
//
// What goes into a transaction is fenced by the lock, with [Lock.Held]. What can't,
// such as a call to Nomad, is done after [Term.Certain] or [Term.Confirm]: they leave
// a moment in which the process may be paused, so that it is guarded besides by what
// was seen.
type Term struct {
	Lock

	presence    *Presence
	confirmedAt atomic.Pointer[time.Time] // When the question was asked that confirmed the lock last.
	end         context.CancelCauseFunc
}

func newTerm(p *Presence, l Lock, acquired time.Time, end context.CancelCauseFunc) *Term {
	t := &Term{Lock: l, presence: p, end: end}
	t.confirmedAt.Store(&acquired)
	return t
}

// Certain returns an error that is [wadi.ErrNotLeading] unless it is certain, without asking,
// that the lock is still ours: it was when Consul was asked last, and Consul can't
// have given it up since for want of a passing check.
func (t *Term) Certain() error {
	if !time.Now().Before(t.until()) {
		return fmt.Errorf("%w: not confirmed for %s", wadi.ErrNotLeading, t.presence.ttl())
	}
	return nil
}

// until is how long the lock is ours for certain.
func (t *Term) until() time.Time {
	until := t.confirmedAt.Load().Add(t.presence.ttl())
	if alive := t.presence.AliveUntil(); alive.Before(until) {
		return alive
	}
	return until
}

// Confirm has Consul confirm the lock now. A lock that is lost is [wadi.ErrNotLeading], and ends
// the term; when Consul can't be asked the lock is not confirmed either.
func (t *Term) Confirm(ctx context.Context) error {
	if err := t.Certain(); err != nil {
		return err
	}
	_, err := t.confirm(ctx, 0)
	if errors.Is(err, wadi.ErrNotLeading) {
		t.end(err)
	}
	return err
}

// watchLock returns [wadi.ErrNotLeading] as soon as it is not certain any more that the lock is
// ours, and nil when ctx ends.
func (t *Term) watchLock(ctx context.Context) error {
	var index uint64
	for {
		if err := t.Certain(); err != nil {
			return err
		}
		next, err := t.confirm(ctx, index)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, wadi.ErrNotLeading):
			return err
		case err != nil:
			index = 0
			sleep(ctx, lockRetry)
		default:
			index = next
		}
	}
}

// confirm reads the lock: at once with index 0, else at its next change or after a
// moment.
func (t *Term) confirm(ctx context.Context, index uint64) (next uint64, err error) {
	ctx, cancel := context.WithDeadline(ctx, t.until())
	defer cancel()
	sent := time.Now()
	cur, next, err := t.presence.Client.WaitGet(ctx, t.Key, index, lockPoll, true)
	switch {
	case isNotFound(err):
		return 0, fmt.Errorf("%w: the lock was deleted", wadi.ErrNotLeading)
	case err != nil:
		return 0, err
	case cur.Session != t.Session:
		return 0, fmt.Errorf("%w: another session has the lock", wadi.ErrNotLeading)
	}
	t.noteConfirmed(sent)
	return next, nil
}

// noteConfirmed keeps the latest time: two may be asking.
func (t *Term) noteConfirmed(sent time.Time) {
	for {
		last := t.confirmedAt.Load()
		if !sent.After(*last) || t.confirmedAt.CompareAndSwap(last, &sent) {
			return
		}
	}
}
