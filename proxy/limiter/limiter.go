// Package limiter admits a bounded number of requests at once, and lets a bounded number
// wait, first come, first served.
//
// It promises that a slot goes to the request that has waited longest, and that one which
// stops waiting keeps no slot. It refuses to bound how long a request waits: that is
// up to its context.
package limiter

import (
	"container/list"
	"context"
	"sync"

	"github.com/wadi-run/wadi"
)

// Limiter admits at most limit requests at once. At most depth others wait, first come, first
// served.
type Limiter struct {
	limit, depth int

	mu       sync.Mutex
	inFlight int
	waiting  list.List // Of *waiter, the oldest first.
}

// waiter is one request that waits. Its channel is closed, under the limiter's
// mutex, when it is admitted.
type waiter struct{ admitted chan struct{} }

// New returns a limiter that admits limit requests at once and lets depth
// others wait. With limit 0 all are admitted and only counted.
func New(limit, depth int) *Limiter {
	return &Limiter{limit: limit, depth: depth}
}

// TryAcquire reports whether the request is admitted without waiting; if so Release
// must follow.
func (l *Limiter) TryAcquire() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limit != 0 && l.inFlight >= l.limit {
		return false
	}
	l.inFlight++
	return true
}

// Acquire returns nil once the request is admitted; Release must follow. It returns
// [wadi.ErrQueueFull] at once if too many wait already, and the cause of ctx when that ends
// first: then the request waits no more.
func (l *Limiter) Acquire(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if l.TryAcquire() {
		return nil
	}
	l.mu.Lock()
	if l.inFlight < l.limit { // A request was released just now.
		l.inFlight++
		l.mu.Unlock()
		return nil
	}
	if l.waiting.Len() >= l.depth {
		l.mu.Unlock()
		return wadi.ErrQueueFull
	}
	w := &waiter{admitted: make(chan struct{})}
	place := l.waiting.PushBack(w)
	l.mu.Unlock()

	select {
	case <-w.admitted:
		return nil
	case <-ctx.Done():
		l.cancel(place)
		return context.Cause(ctx)
	}
}

// cancel removes a request from the queue, or releases it if it was admitted just now.
func (l *Limiter) cancel(place *list.Element) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-place.Value.(*waiter).admitted:
		l.release()
	default:
		l.waiting.Remove(place)
	}
}

// Release ends an admitted request and admits the one that has waited longest.
func (l *Limiter) Release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.release()
}

// release hands the slot on, so that no newcomer takes it before the requests that wait. The
// caller holds the mutex.
func (l *Limiter) release() {
	oldest := l.waiting.Front()
	if oldest == nil {
		l.inFlight--
		return
	}
	close(l.waiting.Remove(oldest).(*waiter).admitted)
}

// InFlight counts the requests that are admitted and not yet released.
func (l *Limiter) InFlight() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inFlight
}

// Waiting counts the requests that wait.
func (l *Limiter) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting.Len()
}
