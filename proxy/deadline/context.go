package deadline

import (
	"context"
	"time"
)

// contextState is the state of a [Tracker]'s context, guarded by its mutex. Channel and map
// are made on demand.
type contextState struct {
	cause error                  // Not to be read before over is set.
	done  chan struct{}          // Closed when the context has ended.
	after map[*afterEnd]struct{} // To be called then.
}

type afterEnd struct{ f func() }

// endContext ends the context for a reason, once. The caller holds the mutex.
func (t *Tracker) endContext(cause error) {
	if t.over.Load() {
		return
	}
	t.cause = cause
	t.over.Store(true)
	if t.done != nil {
		close(t.done)
	}
	for a := range t.after {
		go a.f()
	}
	t.after = nil
}

// trackedContext is the context of a tracked request. Its error is the cause: one of the
// timeouts, or the error of the caller's context.
type trackedContext Tracker

var _ context.Context = (*trackedContext)(nil)

func (c *trackedContext) Deadline() (time.Time, bool) { return c.r.Context().Deadline() }

func (c *trackedContext) Value(key any) any { return c.r.Context().Value(key) }

// Err is cheap, and correct also while nothing listens to the caller's context.
func (c *trackedContext) Err() error {
	if c.over.Load() {
		return c.cause
	}
	err := c.r.Context().Err()
	if err == nil {
		return nil
	}
	t := (*Tracker)(c)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.endContext(err)
	return t.cause
}

func (c *trackedContext) Done() <-chan struct{} {
	t := (*Tracker)(c)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done == nil {
		t.done = make(chan struct{})
		if t.over.Load() {
			close(t.done)
		}
		t.watchLocked()
	}
	return t.done
}

// AfterFunc is what the standard library looks for in a parent context of another type: a
// child then needs no goroutine that waits for it.
func (c *trackedContext) AfterFunc(f func()) (stop func() bool) {
	t := (*Tracker)(c)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over.Load() {
		go f()
		return func() bool { return false }
	}
	t.watchLocked()
	a := &afterEnd{f}
	if t.after == nil {
		t.after = map[*afterEnd]struct{}{}
	}
	t.after[a] = struct{}{}
	return func() bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		_, waits := t.after[a]
		delete(t.after, a)
		return waits
	}
}
