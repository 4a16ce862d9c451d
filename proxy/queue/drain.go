package queue

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/wadi-run/wadi/proxy"
)

const (
	// settleLongest bounds the settling of a drain, as half of its timeout does.
	settleLongest = 10 * time.Second
	// drainPoll is how often an almost finished drain looks for the last ones.
	drainPoll = 10 * time.Millisecond
)

// settle says for how long callers are served that have not heard of a drain.
func (p *Proxy) settle() proxy.Settle {
	return proxy.Settle{Quiet: p.quietFor(), Longest: min(settleLongest, p.cfg.Drain/2)}
}

func (p *Proxy) quietFor() time.Duration { return cmp.Or(p.cfg.Settle, DefaultSettle) }

// startDrain makes the instance unready. It is heard of on every plane at once.
func (p *Proxy) startDrain() {
	p.drain.Begin()
	p.conns.leave(p.quietFor() / 2)
	p.clock.Wake()
}

// drained waits until the drain has settled and the last request is answered.
func (p *Proxy) drained(ctx context.Context) error {
	select {
	case <-p.drain.Settled():
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return until(ctx, func() bool { return p.live.count() == 0 })
}

// until waits until done says so.
func until(ctx context.Context, done func() bool) error {
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	for !done() {
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
	if err := p.finish(ctx, traffic); err != nil {
		p.log.Warn("drain timed out", "unfinished", p.live.count(), "error", err)
		return
	}
	p.log.Info("drained", "seconds", time.Since(begun).Seconds())
}

// finish goes on until nobody is served any more. The server's own end comes last:
// from then on it drops requests that it has read.
func (p *Proxy) finish(ctx context.Context, traffic *http.Server) error {
	select {
	case <-p.drain.Settled():
	case <-ctx.Done():
	}
	p.conns.lastCall()
	p.live.leave()
	select {
	case <-p.conns.accepted:
	case <-ctx.Done():
	}
	if err := until(ctx, func() bool { return p.conns.closeIdle(p.quietFor()) && p.live.count() == 0 }); err != nil {
		return err
	}
	return traffic.Shutdown(ctx)
}
