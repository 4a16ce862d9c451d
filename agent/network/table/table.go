// Package table is the network layer of callers from outside the mesh: the table of
// the gateway that is part of the agent which leads.
//
// Every agent's gateway follows the stored routes by itself, so this layer writes
// nothing. It promises that a route counts as programmed only once this agent's
// gateway, and the activator beside it, follow it: they learn of it together. It
// refuses to decide which service gets a host that two claim.
package table

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/network"
)

// Gateway is the gateway of this agent.
type Gateway interface {
	// Serves reports whether it serves by the route, and what is amiss: the reason
	// why not, or, of one that it carries, the hosts that other services hold.
	Serves(r wadi.Route) (ok bool, why string)
}

// Layer is the gateway as a network layer.
type Layer struct {
	Gateway Gateway
	// Patience is for how long Apply waits for the gateway to follow; 0 is 1 s.
	Patience time.Duration

	mu     sync.Mutex
	period time.Time     // When waiting was counted anew.
	waited time.Duration // Since then, in all calls.
}

// Apply is called for one service after the other. When thousands are submitted at once it
// waits no more than waitMost of every waitPeriod: the routes that are not followed by then
// are found to be with the next try.
const (
	waitPeriod = 5 * time.Second
	waitMost   = time.Second
)

var _ network.Layer = (*Layer)(nil)

// pollInterval is how often Apply asks the gateway, which reads memory.
const pollInterval = 5 * time.Millisecond

// Apply waits until the gateway has followed a route that was stored, which takes
// milliseconds. Otherwise it would be read back as missing, and the service be kept from
// zero until the next pass. A gateway that does not follow is an error: try again. When it
// has waited much lately it does not wait.
func (l *Layer) Apply(ctx context.Context, r wadi.Route) error {
	patience := l.Patience
	if patience == 0 {
		patience = time.Second
	}
	if ok, _ := l.Gateway.Serves(r); ok || !l.mayWait(time.Now()) {
		return nil
	}
	began := time.Now()
	defer func() { l.noteWait(time.Since(began)) }()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		ok, why := l.Gateway.Serves(r)
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the gateway to follow the route of %s: %s", r.Service, why)
		case <-tick.C:
		}
	}
}

func (l *Layer) mayWait(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.period) >= waitPeriod {
		l.period, l.waited = now, 0
	}
	return l.waited < waitMost
}

func (l *Layer) noteWait(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waited += d
}

// Remove does nothing: a service that is no longer stored is in no table.
func (l *Layer) Remove(context.Context, string) error { return nil }

// Programmed asks the gateway. A host that another service has is reported, but prevents
// nothing: the service is woken under its own name.
func (l *Layer) Programmed(_ context.Context, r wadi.Route) (ok bool, why string, err error) {
	ok, why = l.Gateway.Serves(r)
	return ok, why, nil
}
