package agent

import (
	"context"
	"net/http"
	"time"

	"github.com/wadi-run/wadi/proxy/drain"
)

// Bounds of a drain.
const (
	drainTimeout = 30 * time.Second // For requests in flight, once it has settled.
	leaveTimeout = 5 * time.Second  // For deregistering.
)

// settle is how long callers may come that have not heard of the drain. Load
// balancers ask /ready, or Consul, every second or few.
var settle = drain.Policy{Min: 2 * time.Second, Quiet: time.Second, Max: 10 * time.Second}

// settling is settle, and next to nothing in development: nobody balances there.
func (a *Agent) settling() drain.Policy {
	if a.cfg.Dev {
		return drain.Policy{Min: 100 * time.Millisecond, Quiet: 100 * time.Millisecond, Max: time.Second}
	}
	return settle
}

// runDrain waits until a drain begins and carries it out, in the order in which
// callers lose nothing: nobody is sent here any more; who comes all the same is
// served until it is quiet; no new connections; what has come is finished, and who
// speaks another protocol than HTTP is told to end. The process goes on: who drains
// without stopping restarts it, or stops it then.
func (a *Agent) runDrain(ctx context.Context, presence, front *parts) {
	<-a.drain.Begun()
	defer close(a.drained)
	a.log.Info("draining: serving on until callers have heard of it")
	settled := make(chan struct{})
	go func() { // A front that has failed has nothing to wait for.
		defer close(settled)
		a.drain.Run(front.ctx, a.settling())
	}()
	presence.stop()
	<-settled
	a.activator.GoAway()
	begun := time.Now()
	bound, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	front.stop() // Within drainTimeout: see gateway.ServerConfig.ShutdownTimeout.
	if err := a.activator.Drain(bound); err != nil {
		a.log.Warn("requests were not finished in time", "error", err)
		return
	}
	a.log.Info("drained", "took", time.Since(begun))
}

// awaitDrained waits until the drain is over.
func (a *Agent) awaitDrained(ctx context.Context) error {
	select {
	case <-a.drained:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leaving is next for a traffic listener: while the agent drains, every answer
// sends its caller to another one. On HTTP/2 the connection is told to go away.
func (a *Agent) leaving(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.drain.HasBegun() {
			a.drain.Saw()
			if r.Header.Get("Upgrade") == "" {
				w.Header().Set("Connection", "close")
			}
		}
		next.ServeHTTP(w, r)
	})
}
