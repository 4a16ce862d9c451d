// Package lazy has a context that costs nothing until something listens to it.
//
// It promises that Err is right at any time, and that the parent context is listened to only
// from the first call of Done or AfterFunc on. Most requests are over before.
package lazy

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Context is a context that ends with its parent or by [Context.End]. It may be part of
// another struct; [Context.Init] comes first.
type Context struct {
	parent context.Context
	ended  atomic.Bool // Err, set before, is valid.

	mu        sync.Mutex
	following bool        // The parent is listened to.
	stop      func() bool // Ends that.
	err       error
	cause     error                  // Of the first End; nil: there was none.
	done      chan struct{}          // Closed when the context has ended; nil: not asked for.
	after     map[*callback]struct{} // To be called then.
}

type callback struct{ f func() }

var _ context.Context = (*Context)(nil)

// New returns a context that ends with parent.
func New(parent context.Context) *Context {
	c := &Context{}
	c.Init(parent)
	return c
}

// Init makes c, zero before, a context that ends with parent.
func (c *Context) Init(parent context.Context) { c.parent = parent }

// End ends the context with err, what Err returns from then on unless the parent has ended
// before. Cause, not nil, says why; the first one counts.
func (c *Context) End(err, cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause == nil {
		c.cause = cause
	}
	c.end(err)
}

// end ends the context, once. The caller holds the mutex.
func (c *Context) end(err error) {
	if c.ended.Load() {
		return
	}
	c.err = err
	c.ended.Store(true)
	if c.stop != nil {
		c.stop()
	}
	if c.done != nil {
		close(c.done)
	}
	for a := range c.after {
		go a.f()
	}
	c.after = nil
}

// Cause is why End was called; nil: it was not.
func (c *Context) Cause() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// Ended reports whether the context is known to have ended. It is cheaper than Err, and does
// not ask the parent.
func (c *Context) Ended() bool { return c.ended.Load() }

// Follow listens to the parent from now on.
func (c *Context) Follow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.follow()
}

func (c *Context) follow() {
	if c.following || c.ended.Load() {
		return
	}
	c.following = true
	c.stop = context.AfterFunc(c.parent, c.parentEnded)
}

func (c *Context) parentEnded() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end(c.parent.Err())
}

// Deadline implements [context.Context].
func (c *Context) Deadline() (time.Time, bool) { return c.parent.Deadline() }

// Value implements [context.Context].
func (c *Context) Value(key any) any { return c.parent.Value(key) }

// Err implements [context.Context]. It is cheap, and correct also while the parent is not
// listened to.
func (c *Context) Err() error {
	if c.ended.Load() {
		return c.err
	}
	err := c.parent.Err()
	if err == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end(err)
	return c.err
}

// Done implements [context.Context].
func (c *Context) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.ended.Load() {
			close(c.done)
		}
		c.follow()
	}
	return c.done
}

// AfterFunc is what the standard library looks for in a parent context of another type: a
// child then needs no goroutine that waits for it.
func (c *Context) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended.Load() {
		go f()
		return func() bool { return false }
	}
	c.follow()
	a := &callback{f}
	if c.after == nil {
		c.after = map[*callback]struct{}{}
	}
	c.after[a] = struct{}{}
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, waits := c.after[a]
		delete(c.after, a)
		return waits
	}
}
