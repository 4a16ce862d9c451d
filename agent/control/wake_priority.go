package control

import (
	"context"
	"sync"
	"time"
)

// wakePriority is how the autoscaler's calls leave room for wakes: whoever waits for a wake has
// nothing, and whoever waits for a raise has instances. Nomad takes scale calls faster
// than it places instances, so that what is sent later is placed later.
type wakePriority struct {
	slots chan struct{} // Of calls at once, fewer than there are connections to Nomad.

	mu         sync.Mutex
	wakesSince time.Time // When wakes were first met that have not been over since; zero: they are.
}

// yieldsAtMost bounds how long changes of counts wait for wakes that do not end.
const yieldsAtMost = 2 * time.Second

// enter waits for a place, which the returned function gives back.
func (t *wakePriority) enter() (leave func()) {
	t.slots <- struct{}{}
	return func() { <-t.slots }
}

// yield waits until no wake is due or under way, for a bounded time since there have
// been some.
func (t *wakePriority) yield(ctx context.Context, waking func() <-chan struct{}) {
	if waking == nil {
		return
	}
	over := waking()
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

// remaining is how long wakes may still be waited for.
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
