package queue

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// The settling of a drain: callers that have not heard of it yet are served on.
const (
	// settleLongest bounds it, as half of the drain's timeout does.
	settleLongest = 10 * time.Second
	// livePoll is how often an almost finished drain looks for the last requests.
	livePoll = 10 * time.Millisecond
)

// drain is the way out: begun, then settled when no new requests come, then
// drained when the last one is answered.
type drain struct {
	once    sync.Once
	begun   chan struct{}
	settled chan struct{}
	latest  atomic.Pointer[time.Time] // When the last request came; nil before one did.
}

func newDrain() *drain {
	return &drain{begun: make(chan struct{}), settled: make(chan struct{})}
}

func (d *drain) begin() { d.once.Do(func() { close(d.begun) }) }

func (d *drain) hasBegun() bool {
	select {
	case <-d.begun:
		return true
	default:
		return false
	}
}

// saw notes that a request came while draining.
func (d *drain) saw() {
	now := time.Now()
	d.latest.Store(&now)
}

// run closes settled once the drain has begun and settled: when no request came
// for quiet, and within its share of the longest drain.
func (d *drain) run(ctx context.Context, quiet, longest time.Duration) {
	select {
	case <-d.begun:
	case <-ctx.Done():
		return
	}
	begun := time.Now()
	end := begun.Add(min(settleLongest, longest/2))
	for {
		until := begun.Add(quiet)
		if latest := d.latest.Load(); latest != nil && latest.After(begun) {
			until = latest.Add(quiet)
		}
		if until.After(end) {
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

// startDrain makes the instance unready. It is heard of on every plane at once.
func (p *Proxy) startDrain() {
	p.drain.begin()
	p.clock.Wake()
}

// drained waits until the drain has settled and the last request is answered.
func (p *Proxy) drained(ctx context.Context) error {
	select {
	case <-p.drain.settled:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	tick := time.NewTicker(livePoll)
	defer tick.Stop()
	for p.live.count() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// shutdown drains and closes the traffic plane, within the drain's timeout.
func (p *Proxy) shutdown(ctx context.Context, traffic *http.Server) {
	begun := time.Now()
	p.log.Info("draining", "in_flight", p.limiter.InFlight(), "waiting", p.limiter.Waiting())
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Drain)
	defer cancel()
	p.startDrain()
	select {
	case <-p.drain.settled:
	case <-ctx.Done():
	}
	err := traffic.Shutdown(ctx) // It does not wait for upgraded requests,
	if err == nil {
		err = p.drained(ctx) // but this does.
	}
	if err != nil {
		p.log.Warn("drain timed out", "unfinished", p.live.count(), "error", err)
		return
	}
	p.log.Info("drained", "seconds", time.Since(begun).Seconds())
}
