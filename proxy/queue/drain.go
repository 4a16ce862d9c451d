package queue

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/wadi-run/wadi/proxy/drain"
)

const (
	// settleLongest bounds how long a drain settles, as half of its timeout does.
	settleLongest = 10 * time.Second
	// drainPoll is the interval at which a drain checks for the last requests.
	drainPoll = 10 * time.Millisecond
	// drainReport is the interval at which a drain logs what it waits for.
	drainReport = 10 * time.Second
)

// settle bounds how long a drain serves callers that don't know of it yet.
func (p *Proxy) settle() drain.Policy {
	return drain.Policy{Quiet: p.quietFor(), Max: min(settleLongest, p.cfg.Drain/2)}
}

func (p *Proxy) quietFor() time.Duration { return cmp.Or(p.cfg.Settle, DefaultSettle) }

// startDrain makes the instance unready on every plane at once.
func (p *Proxy) startDrain() {
	p.drain.Begin()
	p.conns.GoAway(p.quietFor() / 2)
	p.clock.Wake()
}

// drained waits until the drain has settled and the last request was answered.
func (p *Proxy) drained(ctx context.Context) error {
	select {
	case <-p.drain.Settled():
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := pollUntil(ctx, func() bool { return p.inFlight.len() == 0 }); err != nil {
		return fmt.Errorf("%v: %w", p.remaining(), err)
	}
	return nil
}

// remaining returns what a drain still waits for.
func (p *Proxy) remaining() remaining {
	r := p.inFlight.remaining()
	if at := p.drainEnd.Load(); at != 0 {
		r.Until = time.Unix(0, at)
	}
	return r
}

// logProgress logs what the drain waits for from time to time, until ctx ends.
func (p *Proxy) logProgress(ctx context.Context) {
	tick := time.NewTicker(drainReport)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r := p.remaining()
			p.log.Info("draining", "requests", r.Requests, "tunnels", r.Tunnels, "until", r.Until.UTC().Format(time.RFC3339))
		case <-ctx.Done():
			return
		}
	}
}

// pollUntil waits until done returns true.
func pollUntil(ctx context.Context, done func() bool) error {
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
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Drain)
	defer cancel()
	p.drainEnd.Store(begun.Add(p.cfg.Drain).UnixNano())
	r := p.remaining()
	p.log.Info("draining", "requests", r.Requests, "tunnels", r.Tunnels, "waiting", p.limiter.Waiting(), "until", r.Until.UTC().Format(time.RFC3339))
	reporting, over := context.WithCancel(ctx)
	var reports sync.WaitGroup
	reports.Go(func() { p.logProgress(reporting) })
	defer reports.Wait()
	defer over()
	p.startDrain()
	if err := p.closeTraffic(ctx, traffic); err != nil {
		r := p.remaining()
		p.log.Warn("drain timed out", "requests", r.Requests, "tunnels", r.Tunnels, "error", err)
		return
	}
	p.log.Info("drained", "seconds", time.Since(begun).Seconds())
}

// closeTraffic serves until the last request was answered, and closes the traffic plane. The
// server's own shutdown comes last, as it drops requests that were read.
func (p *Proxy) closeTraffic(ctx context.Context, traffic *http.Server) error {
	select {
	case <-p.drain.Settled():
	case <-ctx.Done():
	}
	p.conns.StopAccepting()
	p.inFlight.endTunnels()
	select {
	case <-p.conns.Accepted():
	case <-ctx.Done():
	}
	if err := pollUntil(ctx, func() bool { return p.conns.CloseIdle(p.quietFor()) && p.inFlight.len() == 0 }); err != nil {
		return err
	}
	return traffic.Shutdown(ctx)
}
