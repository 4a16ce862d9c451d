package activator

import (
	"context"
	"sync"
	"time"
)

// attempt is the context of one forward: it ends with the client's, or by end. It
// follows the client's only once its own Done is asked for. Most requests are over
// before, and don't pay for that.
type attempt struct {
	client context.Context

	mu       sync.Mutex
	followed context.Context // Nil: Done was not called.
	cancel   context.CancelCauseFunc
	cause    error // Why it ended before the client's; nil: it did not.
}

var _ context.Context = (*attempt)(nil)

// end ends the context with a cause, which is not nil. The first call counts.
func (a *attempt) end(cause error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cause == nil {
		a.cause = cause
	}
	if a.cancel != nil {
		a.cancel(cause)
	}
}

// endCause is the cause that end was called with; nil: it was not.
func (a *attempt) endCause() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.cause
}

// Deadline implements context.Context.
func (a *attempt) Deadline() (time.Time, bool) { return a.client.Deadline() }

// Done implements context.Context.
func (a *attempt) Done() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.followed == nil {
		a.followed, a.cancel = context.WithCancelCause(a.client)
		if a.cause != nil {
			a.cancel(a.cause)
		}
	}
	return a.followed.Done()
}

// Err implements context.Context.
func (a *attempt) Err() error {
	if a.endCause() != nil {
		return context.Canceled
	}
	return a.client.Err()
}

// Value implements context.Context. The standard library looks in it for a context
// of its own to follow.
func (a *attempt) Value(key any) any {
	a.mu.Lock()
	in := a.followed
	a.mu.Unlock()
	if in == nil {
		in = a.client
	}
	return in.Value(key)
}
