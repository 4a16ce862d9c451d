package control

import (
	"context"
	"sync"
	"time"
)

// turns is how the autoscaler's calls leave room for wakes: whoever waits for a wake has
// nothing, and whoever waits for a raise has instances. Nomad takes scale calls faster
// than it places instances, so that what is sent later is placed later.
type turns struct {
	places chan struct{} // Of calls at once, fewer than there are connections to Nomad.

	mu    sync.Mutex
	since time.Time // When wakes were first met that have not been over since; zero: they are.
}

// yieldsFor bounds how long changes of counts wait for wakes that do not end.
const yieldsFor = 2 * time.Second

// enter waits for a place, which the returned function gives back.
func (t *turns) enter() (leave func()) {
	t.places <- struct{}{}
	return func() { <-t.places }
}

// yield waits until no wake is due or under way, for a bounded time since there have
// been some.
func (t *turns) yield(ctx context.Context, waking func() <-chan struct{}) {
	if waking == nil {
		return
	}
	over := waking()
	left := t.left(over != nil, time.Now())
	if over == nil || left <= 0 {
		return
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-over:
		t.left(false, time.Now())
	case <-timer.C:
	case <-ctx.Done():
	}
}

// left is how long wakes may still be waited for.
func (t *turns) left(waking bool, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !waking:
		t.since = time.Time{}
	case t.since.IsZero():
		t.since = now
	}
	return t.since.Add(yieldsFor).Sub(now)
}
