package consul

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/wadi-run/wadi"
)

// lockPoll is how often a leader confirms its lock.
const lockPoll = time.Second

// Lock is a key and the session that has it.
type Lock struct{ Key, Session string }

// Fence is the operation that makes a transaction fail with [wadi.ErrNotLeading] unless the
// session has the lock: Consul decides that, whatever the session's owner believes.
func (l Lock) Fence() Op { return Op{Verb: MustHold, Key: l.Key, Session: l.Session} }

// Term is one agent's time as leader. It is safe for concurrent use.
//
// Transactions are fenced by the lock, with [Lock.Held]. Other calls, such as those to
// Nomad, are made after [Term.Certain] or [Term.Confirm]. Between these and the call the
// process may be paused, so the call must also be guarded by an index that was read
// before.
type Term struct {
	Lock

	presence    *Presence
	confirmedAt atomic.Pointer[time.Time] // When the last confirmation of the lock was requested.
	end         context.CancelCauseFunc
}

func newTerm(p *Presence, l Lock, acquired time.Time, end context.CancelCauseFunc) *Term {
	t := &Term{Lock: l, presence: p, end: end}
	t.confirmedAt.Store(&acquired)
	return t
}

// Certain returns an error that is [wadi.ErrNotLeading] unless the agent surely still has
// the lock. It makes no call: the lock was confirmed recently, and Consul can't have
// released it since for lack of a passing check.
func (t *Term) Certain() error {
	if !time.Now().Before(t.until()) {
		return fmt.Errorf("%w: not confirmed for %s", wadi.ErrNotLeading, t.presence.ttl())
	}
	return nil
}

// until is the time until which the agent surely has the lock.
func (t *Term) until() time.Time {
	until := t.confirmedAt.Load().Add(t.presence.ttl())
	if alive := t.presence.AliveUntil(); alive.Before(until) {
		return alive
	}
	return until
}

// Confirm asks Consul whether the agent has the lock. If it is lost, the error is
// [wadi.ErrNotLeading] and the term ends. If Consul does not answer, the lock is not
// confirmed.
func (t *Term) Confirm(ctx context.Context) error {
	if err := t.Certain(); err != nil {
		return err
	}
	_, err := t.confirm(ctx, 0)
	if errors.Is(err, wadi.ErrNotLeading) {
		t.end(err)
	}
	if err == nil {
		err = t.Certain() // The process may have been paused while it waited.
	}
	return err
}

// watchLock returns [wadi.ErrNotLeading] as soon as the agent may have lost the lock, and
// nil when ctx ends.
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
			_ = wadi.Sleep(ctx, lockRetry)
		default:
			index = next
		}
	}
}

// confirm reads the lock: at once with index 0, otherwise at its next change or after
// lockPoll.
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

// noteConfirmed keeps the latest time: two confirmations may run at once.
func (t *Term) noteConfirmed(sent time.Time) {
	for {
		last := t.confirmedAt.Load()
		if !sent.After(*last) || t.confirmedAt.CompareAndSwap(last, &sent) {
			return
		}
	}
}
