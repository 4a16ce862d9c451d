package queue

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
)

// How often the app is probed. A probe of an app that is up only finds out that
// it has stopped answering; that it has died is seen by a refused connection.
const (
	reprobeEvery = 5 * time.Second
	// reprobeFailures is how many probes in a row an app that was ready must fail
	// before it is not: a busy one may miss one or two.
	reprobeFailures = 3
)

// readiness knows whether the app is ready. Its state is owned by run; refused
// may end readiness from outside.
type readiness struct {
	probe   func(context.Context) error
	timeout time.Duration // Of one probe.
	repeat  bool          // Whether an app that is up is probed again by itself.
	log     hclog.Logger
	changed func() // Called after every change.

	kick chan struct{} // Asks for a probe now.

	last atomic.Pointer[error] // The last probe's error, or why the app refused a connection; nil after a success.

	up    atomic.Bool // Set under the mutex.
	mu    sync.Mutex
	ready chan struct{} // Closed while up.
}

func newReadiness(probe func(context.Context) error, timeout time.Duration, repeat bool) *readiness {
	return &readiness{
		probe: probe, timeout: timeout, repeat: repeat,
		kick: make(chan struct{}, 1), ready: make(chan struct{}),
	}
}

// run probes until ctx ends.
func (r *readiness) run(ctx context.Context) {
	begun := time.Now() // Since when the app is not ready, if it isn't.
	failures := 0
	for ctx.Err() == nil {
		err := r.attempt(ctx)
		if ctx.Err() == nil {
			r.last.Store(&err)
		}
		switch {
		case err == nil:
			failures = 0
			begun = time.Now()
			r.set(true, nil)
		case ctx.Err() != nil:
			return
		default:
			failures++
			if !r.isReady() {
				break
			}
			begun = time.Now()
			if failures >= reprobeFailures || errors.Is(err, syscall.ECONNREFUSED) {
				r.set(false, err)
			}
		}
		if kicked := r.pause(ctx, time.Since(begun)); kicked {
			begun = time.Now() // It has just died, and may be back as quickly.
		}
	}
}

func (r *readiness) attempt(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	return r.probe(ctx)
}

// pause waits until the next probe is due or asked for, and says which.
func (r *readiness) pause(ctx context.Context, failing time.Duration) (kicked bool) {
	var due <-chan time.Time
	if !r.isReady() {
		timer := time.NewTimer(retryAfter(failing))
		defer timer.Stop()
		due = timer.C
	} else if r.repeat {
		timer := time.NewTimer(reprobeEvery)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-due:
	case <-r.kick:
		return true
	case <-ctx.Done():
	}
	return false
}

// retryAfter is the pause between two probes of an app that has not been ready
// for a time: short while a start may end at any moment.
func retryAfter(failing time.Duration) time.Duration {
	switch {
	case failing < 3*time.Second:
		return 5 * time.Millisecond
	case failing < 10*time.Second:
		return 25 * time.Millisecond
	case failing < 60*time.Second:
		return 100 * time.Millisecond
	}
	return 250 * time.Millisecond
}

// refused says that the app refused a connection: it is not ready until a probe
// says otherwise.
func (r *readiness) refused(err error) {
	r.last.Store(&err)
	r.set(false, err)
	select {
	case r.kick <- struct{}{}:
	default: // One is asked for already.
	}
}

func (r *readiness) set(up bool, cause error) {
	r.mu.Lock()
	if r.up.Load() == up {
		r.mu.Unlock()
		return
	}
	r.up.Store(up)
	if up {
		close(r.ready)
	} else {
		r.ready = make(chan struct{})
	}
	r.mu.Unlock()
	if up {
		r.log.Info("app is ready")
	} else {
		r.log.Warn("app is not ready any more", "error", cause)
	}
	r.changed()
}

func (r *readiness) isReady() bool { return r.up.Load() }

// lastError is why the app is not ready; nil before the first probe.
func (r *readiness) lastError() error {
	if err := r.last.Load(); err != nil {
		return *err
	}
	return nil
}

// wait returns a channel that is closed while the app is ready.
func (r *readiness) wait() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ready
}
