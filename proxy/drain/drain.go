// Package drain ends a process that serves requests without losing one: a [Drain] knows
// when no more requests come, and a [Listener] ends with every connection accepted.
//
// It promises bounded times. It ends no request: that is up to the server.
package drain

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Policy says how long a draining process goes on serving new requests: callers do not know
// of the drain yet.
type Policy struct {
	Min   time.Duration // At least: peers that poll have to see the drain.
	Quiet time.Duration // Then until no request came for so long,
	Max   time.Duration // but at most this, since the drain began.
}

// Drain is the state of a process that shuts down: begun, then settled when no new requests
// come. [New] makes one; Run moves it on.
type Drain struct {
	once    sync.Once
	begun   chan struct{}
	settled chan struct{}
	latest  atomic.Int64 // When the last request came, since start; 0 before one did.
	start   time.Time
}

// New returns a drain that has not begun.
func New() *Drain {
	return &Drain{begun: make(chan struct{}), settled: make(chan struct{}), start: time.Now()}
}

// Begin begins the drain, unless it has begun.
func (d *Drain) Begin() { d.once.Do(func() { close(d.begun) }) }

// Begun is closed when the drain has begun.
func (d *Drain) Begun() <-chan struct{} { return d.begun }

// Settled is closed when the drain has settled.
func (d *Drain) Settled() <-chan struct{} { return d.settled }

// HasBegun reports whether the drain has begun.
func (d *Drain) HasBegun() bool {
	select {
	case <-d.begun:
		return true
	default:
		return false
	}
}

// Saw notes that a request came. It is needed after Begin only.
func (d *Drain) Saw() { d.latest.Store(int64(time.Since(d.start))) }

// Run waits for Begin, and returns when the drain has settled or ctx has ended.
func (d *Drain) Run(ctx context.Context, s Policy) {
	select {
	case <-d.begun:
	case <-ctx.Done():
		return
	}
	begun := time.Now()
	for {
		until := begun.Add(max(s.Min, s.Quiet))
		if latest := d.start.Add(time.Duration(d.latest.Load()) + s.Quiet); latest.After(until) {
			until = latest
		}
		if end := begun.Add(s.Max); until.After(end) {
			until = end
		}
		left := time.Until(until)
		if left <= 0 {
			close(d.settled)
			return
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}
