//go:build linux

package main

import (
	"context"
	"net/http"
	"time"

	"github.com/wadi-run/wadi/proxy"
)

// Bounds of a drain.
const (
	drainTimeout = 30 * time.Second // For requests in flight, once it has settled.
	leaveTimeout = 5 * time.Second  // For deregistering.
)

// settle is how long callers may come that have not heard of the drain. Load
// balancers ask /ready, or Consul, every second or few.
var settle = proxy.Settle{Least: 2 * time.Second, Quiet: time.Second, Longest: 10 * time.Second}

// settling is settle, and next to nothing in development: nobody balances there.
func (n *node) settling() proxy.Settle {
	if n.cfg.Dev {
		return proxy.Settle{Least: 100 * time.Millisecond, Quiet: 100 * time.Millisecond, Longest: time.Second}
	}
	return settle
}

// runDrain waits until a drain begins and carries it out, in the order in which
// callers lose nothing: nobody is sent here any more; who comes all the same is
// served until it is quiet; no new connections; what has come is finished, and who
// speaks another protocol than HTTP is told to end. The process goes on: who drains
// without stopping restarts it, or stops it then.
func (n *node) runDrain(ctx context.Context, presence, front *parts) {
	<-n.drain.Begun()
	defer close(n.drained)
	n.log.Info("draining: serving on until callers have heard of it")
	settled := make(chan struct{})
	go func() { // A front that has failed has nothing to wait for.
		defer close(settled)
		n.drain.Run(front.ctx, n.settling())
	}()
	presence.stop()
	<-settled
	n.activator.Leave()
	begun := time.Now()
	bound, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	front.stop() // Within drainTimeout: see gateway.ServerConfig.ShutdownTimeout.
	if err := n.activator.Drain(bound); err != nil {
		n.log.Warn("requests were not finished in time", "error", err)
		return
	}
	n.log.Info("drained", "took", time.Since(begun))
}

// awaitDrained waits until the drain is over.
func (n *node) awaitDrained(ctx context.Context) error {
	select {
	case <-n.drained:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leaving is next for a traffic listener: while the agent drains, every answer
// sends its caller to another one. On HTTP/2 the connection is told to go away.
func (n *node) leaving(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.drain.HasBegun() {
			n.drain.Saw()
			if r.Header.Get("Upgrade") == "" {
				w.Header().Set("Connection", "close")
			}
		}
		next.ServeHTTP(w, r)
	})
}
