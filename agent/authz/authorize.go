package authz

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/intentions"
	"github.com/wadi-run/wadi/internal/mesh"
)

// newServiceWait bounds how long a request waits until the intentions of a service that
// has just been routed are read: a round trip to Consul, unless Consul is away.
const newServiceWait = 3 * time.Second

// Caller returns the identity in a request's client certificate. The identities of
// Wadi's own parts are refused: the gateway has no certificate, and activators call
// instances only.
func (g *Guard) Caller(r *http.Request) (string, error) {
	if r.TLS == nil {
		return "", errors.New("the connection has no TLS")
	}
	caller, err := mesh.PeerID(*r.TLS)
	if err == nil && (caller == wadi.ServiceGateway || slices.Contains(wadi.Activators(), caller)) {
		g.log.Debug("caller refused: it has a certificate of Wadi's own, which only an agent should be able to get", "caller", caller, "peer", r.RemoteAddr)
		return "", fmt.Errorf("no caller may be %s", caller)
	}
	return caller, err
}

// Authorize returns nil if caller may make request r to service. Its errors are
// [wadi.ErrForbidden] for what the intentions deny, and [wadi.ErrUnavailable] while the
// intentions are not known.
//
// To a service outside the mesh only intentions that name it apply: its instances can be
// reached without the activator anyway, and a default that guards the mesh is not meant
// for it.
func (g *Guard) Authorize(caller, service string, r *http.Request) error {
	route, routed := g.routes()[service]
	now := g.covering(r.Context(), service, routed)
	switch {
	case now == nil:
		return fmt.Errorf("%w: the intentions are not read yet", wadi.ErrUnavailable)
	case routed && now.hidden[service]:
		return fmt.Errorf("%w: this agent may not read the intentions of service %s", wadi.ErrUnavailable, service)
	case routed && !now.complete[service]:
		return fmt.Errorf("%w: the intentions of service %s are not read yet", wadi.ErrUnavailable, service)
	case routed && route.Mesh == wadi.MeshOff && !now.table.Names(service):
		return nil
	}
	allowed, why := now.table.Evaluate(caller, service, intentions.Of(r))
	if allowed {
		return nil
	}
	g.log.Debug("caller denied", "caller", caller, "service", service, "reason", why)
	if caller == wadi.ServiceGateway {
		return fmt.Errorf("%w: intentions don't let callers from outside the mesh (source %s) make this request to service %s", wadi.ErrForbidden, caller, service)
	}
	return fmt.Errorf("%w: intentions don't let service %s make this request to service %s", wadi.ErrForbidden, caller, service)
}

// covering returns the present snapshot. If that does not cover a routed service, it
// waits up to newServiceWait for a snapshot that does, so that a service can be called
// as soon as it is routed.
func (g *Guard) covering(ctx context.Context, service string, routed bool) *snapshot {
	now := g.now.Load()
	if now == nil || !routed || now.covers(service) {
		return now
	}
	ctx, cancel := context.WithTimeout(ctx, newServiceWait)
	defer cancel()
	for {
		changed := g.Changed() // Before the load, so that no change is missed.
		if now = g.now.Load(); now.covers(service) {
			return now
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return now
		}
	}
}
