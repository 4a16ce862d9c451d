package control

import (
	"context"
	"sync"
	"time"
)

// Wakes are those of this agent's activator.
type Wakes interface {
	// Waking returns a channel that is closed when no wake is due or under way any more;
	// nil: none is.
	Waking() <-chan struct{}
}

// wakePriority has the autoscaler's scale calls yield to wakes: a request that waits for a
// wake has no instance at all, and one that waits for a raise has some. Nomad takes scale
// calls faster than it places instances, so a later call is placed later.
type wakePriority struct {
	slots chan struct{} // One per concurrent call, fewer than there are connections to Nomad.

	mu         sync.Mutex
	wakesSince time.Time // Since when wakes are under way without a break; zero: none is.
}

// yieldsAtMost bounds how long changes of counts wait for wakes that do not end.
const yieldsAtMost = 2 * time.Second

// enter waits for a slot, which the returned function frees.
func (t *wakePriority) enter() (leave func()) {
	t.slots <- struct{}{}
	return func() { <-t.slots }
}

// yield waits until no wake is due or under way, but not for longer than yieldsAtMost
// after wakes began.
func (t *wakePriority) yield(ctx context.Context, wakes Wakes) {
	if wakes == nil {
		return
	}
	over := wakes.Waking()
	left := t.remaining(over != nil, time.Now())
	if over == nil || left <= 0 {
		return
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-over:
		t.remaining(false, time.Now())
	case <-timer.C:
	case <-ctx.Done():
	}
}

// remaining is how long the autoscaler may still wait for wakes.
func (t *wakePriority) remaining(waking bool, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !waking:
		t.wakesSince = time.Time{}
	case t.wakesSince.IsZero():
		t.wakesSince = now
	}
	return t.wakesSince.Add(yieldsAtMost).Sub(now)
}
