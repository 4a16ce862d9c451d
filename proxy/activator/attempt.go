package activator

import (
	"context"
	"sync"
	"time"
)

// attempt is the context of one forward: it ends with the client's, or by end. It
// listens for the client only when somebody listens to it. Most requests are over
// before, and pay for none of that.
type attempt struct {
	client context.Context

	mu       sync.Mutex
	listened context.Context // Nil: nobody listens.
	cancel   context.CancelCauseFunc
	cause    error // Why it has ended before the client's; nil: it has not.
}

var _ context.Context = (*attempt)(nil)

// end ends it because of cause, which is not nil. The first one counts.
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

// causeOf is why it was ended; nil if it was not.
func (a *attempt) causeOf() error {
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
	if a.listened == nil {
		a.listened, a.cancel = context.WithCancelCause(a.client)
		if a.cause != nil {
			a.cancel(a.cause)
		}
	}
	return a.listened.Done()
}

// Err implements context.Context.
func (a *attempt) Err() error {
	if a.causeOf() != nil {
		return context.Canceled
	}
	return a.client.Err()
}

// Value implements context.Context. The standard library looks in it for a context
// of its own to listen to.
func (a *attempt) Value(key any) any {
	a.mu.Lock()
	in := a.listened
	a.mu.Unlock()
	if in == nil {
		in = a.client
	}
	return in.Value(key)
}
