package probe

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// reprobeEvery is the interval of probes while the app is ready. Such a probe only
	// finds an app that has stopped answering: a refused connection shows that it died.
	reprobeEvery = 5 * time.Second
	// reprobeFailures is the number of failures in a row that end readiness: a busy app
	// may miss a probe or two.
	reprobeFailures = 3
)

// Config is what a Readiness needs; every field is required.
type Config struct {
	Probe   Func
	Timeout time.Duration // Of one probe.
	Repeat  bool          // Whether an app that is ready is probed again without a cause.
	Log     hclog.Logger
	Changed func() // Called after every change; it must not block.
}

// Readiness knows whether the app is ready. Run owns the probing; Refused may end
// readiness from outside. [NewReadiness] makes one.
type Readiness struct {
	cfg  Config
	kick chan struct{} // Asks for a probe now.

	last atomic.Pointer[error] // Of the last probe, or of the connection that the app refused; nil after a success.

	up    atomic.Bool // Set under the mutex.
	mu    sync.Mutex
	ready chan struct{} // Closed while up.
}

// NewReadiness returns the readiness of an app that is not ready before its first
// successful probe.
func NewReadiness(cfg Config) *Readiness {
	return &Readiness{cfg: cfg, kick: make(chan struct{}, 1), ready: make(chan struct{})}
}

// Run probes until ctx ends.
func (r *Readiness) Run(ctx context.Context) {
	unreadySince := time.Now()
	failures := 0
	for ctx.Err() == nil {
		err := r.attempt(ctx)
		if ctx.Err() == nil {
			r.last.Store(&err)
		}
		switch {
		case err == nil:
			failures = 0
			unreadySince = time.Now()
			r.set(true, nil)
		case ctx.Err() != nil:
			return
		default:
			failures++
			if !r.IsReady() {
				break
			}
			unreadySince = time.Now()
			if failures >= reprobeFailures || errors.Is(err, syscall.ECONNREFUSED) {
				r.set(false, err)
			}
		}
		if kicked := r.pause(ctx, time.Since(unreadySince)); kicked {
			unreadySince = time.Now() // The app has just died, and may be back as quickly.
		}
	}
}

func (r *Readiness) attempt(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	return r.cfg.Probe(ctx)
}

// pause waits until the next probe is due. It reports whether Refused asked for it earlier.
func (r *Readiness) pause(ctx context.Context, failing time.Duration) (kicked bool) {
	var due <-chan time.Time
	if !r.IsReady() {
		timer := time.NewTimer(retryAfter(failing))
		defer timer.Stop()
		due = timer.C
	} else if r.cfg.Repeat {
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

// Refused notes that the app refused a connection with err: the app is not ready until
// the next probe succeeds.
func (r *Readiness) Refused(err error) {
	r.last.Store(&err)
	r.set(false, err)
	select {
	case r.kick <- struct{}{}:
	default: // A probe is due anyway.
	}
}

func (r *Readiness) set(up bool, cause error) {
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
		r.cfg.Log.Info("app is ready")
	} else {
		r.cfg.Log.Warn("app is not ready any more", "error", cause)
	}
	r.cfg.Changed()
}

// IsReady reports whether the app takes requests, as far as probes and connections show.
func (r *Readiness) IsReady() bool { return r.up.Load() }

// LastError is why the app is not ready; nil before the first probe and after a success.
func (r *Readiness) LastError() error {
	if err := r.last.Load(); err != nil {
		return *err
	}
	return nil
}

// Wait returns a channel that is closed as soon as the app is ready.
func (r *Readiness) Wait() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ready
}
