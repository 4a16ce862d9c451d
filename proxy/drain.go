package proxy

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Settle says how long a drain goes on serving what comes, because callers have
// not heard of it yet.
type Settle struct {
	Least   time.Duration // At least so long: those who poll have to see it.
	Quiet   time.Duration // And then until no request came for so long,
	Longest time.Duration // but no longer than this, from the drain's begin.
}

// Drain is the way out of a process that serves requests: begun, and settled when
// no new requests come. NewDrain makes one; Run moves it on.
type Drain struct {
	once    sync.Once
	begun   chan struct{}
	settled chan struct{}
	latest  atomic.Int64 // When the last request came, since start; 0 before one did.
	start   time.Time
}

// NewDrain returns a drain that has not begun.
func NewDrain() *Drain {
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

// Saw notes that a request came. It counts after Begin only; before, nobody needs
// to call it.
func (d *Drain) Saw() { d.latest.Store(int64(time.Since(d.start))) }

// Run waits for Begin, and returns when the drain has settled or ctx has ended.
func (d *Drain) Run(ctx context.Context, s Settle) {
	select {
	case <-d.begun:
	case <-ctx.Done():
		return
	}
	begun := time.Now()
	for {
		until := begun.Add(max(s.Least, s.Quiet))
		if latest := d.start.Add(time.Duration(d.latest.Load()) + s.Quiet); latest.After(until) {
			until = latest
		}
		if end := begun.Add(s.Longest); until.After(end) {
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
