package proxy

import (
	"context"
	"time"
)

// contextState is what the context of a [Timed] knows; guarded by its mutex. All
// of it is made only when somebody asks.
type contextState struct {
	cause       error                  // Not to be read before over is set.
	done        chan struct{}          // Closed when the context has ended.
	after       map[*afterEnd]struct{} // To be called then.
	interrupter interrupter
}

type afterEnd struct{ f func() }

// endContext ends the context for a reason, once. The caller holds the mutex.
func (t *Timed) endContext(cause error) {
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
	if t.interrupter != nil {
		t.interrupter.interrupt()
		t.interrupter = nil
	}
}

// timedContext is the context of a timed request. Its error is the cause: one of
// the timeouts, or what the caller's context says.
type timedContext Timed

var _ context.Context = (*timedContext)(nil)

func (c *timedContext) Deadline() (time.Time, bool) { return c.r.Context().Deadline() }

func (c *timedContext) Value(key any) any { return c.r.Context().Value(key) }

// Err is cheap, and knows of the caller's leave even where nobody listens for it.
func (c *timedContext) Err() error {
	if c.over.Load() {
		return c.cause
	}
	err := c.r.Context().Err()
	if err == nil {
		return nil
	}
	t := (*Timed)(c)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.endContext(err)
	return t.cause
}

func (c *timedContext) Done() <-chan struct{} {
	t := (*Timed)(c)
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
func (c *timedContext) AfterFunc(f func()) (stop func() bool) {
	t := (*Timed)(c)
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

// interrupter is what a request must not hold when its context has ended. It is
// called in another goroutine, must not block and not ask the context.
type interrupter interface{ interrupt() }

// interruption is one use of an interrupter.
type interruption struct {
	t    *Timed
	stop func() bool   // With a context that is not a timed one.
	done chan struct{} // The same: closed when the interrupter was called.
}

// interruptOn interrupts i when ctx ends, at once if it has. Of a timed request one
// thing at a time may be interrupted, and it costs next to nothing: the leave of
// its caller is heard of with a delay of up to 2 × youngFor.
func interruptOn(ctx context.Context, i interrupter) interruption {
	c, ok := ctx.(*timedContext)
	if !ok {
		done := make(chan struct{})
		return interruption{done: done, stop: context.AfterFunc(ctx, func() {
			defer close(done)
			i.interrupt()
		})}
	}
	t := (*Timed)(c)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over.Load() {
		i.interrupt()
		return interruption{}
	}
	t.interrupter = i
	return interruption{t: t}
}

// end ends the use: after it the interrupter is neither called nor being called.
func (in interruption) end() {
	switch {
	case in.t != nil:
		in.t.mu.Lock()
		in.t.interrupter = nil
		in.t.mu.Unlock()
	case in.stop != nil && !in.stop():
		<-in.done
	}
}
