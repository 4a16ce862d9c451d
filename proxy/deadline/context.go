package deadline

import (
	"context"
	"time"
)

// contextState is what the context of a [Timed] knows; guarded by its mutex. All
// of it is made only when somebody asks.
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

// trackedContext is the context of a timed request. Its error is the cause: one of
// the timeouts, or what the caller's context says.
type trackedContext Tracker

var _ context.Context = (*trackedContext)(nil)

func (c *trackedContext) Deadline() (time.Time, bool) { return c.r.Context().Deadline() }

func (c *trackedContext) Value(key any) any { return c.r.Context().Value(key) }

// Err is cheap, and knows of the caller's leave even where nobody listens for it.
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

// AfterFunc is what the standard library's contexts look for: they need no
// goroutine then to be ended with this one.
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
