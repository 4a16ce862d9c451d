package agent

import (
	"context"
	"net/http"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/internal/telemetry"
	"github.com/wadi-run/wadi/proxy/activator"
	"github.com/wadi-run/wadi/proxy/gateway"
)

// openTelemetry makes what writes the access log and sends spans.
func (a *Agent) openTelemetry(ctx context.Context) (err error) {
	c := a.cfg.Telemetry
	a.telemetry, err = telemetry.New(ctx, telemetry.Config{
		Name: a.cfg.Name, Version: a.deps.Version, AccessLog: a.deps.AccessLog, Endpoint: c.OTLPEndpoint,
		Log: a.log.Named("telemetry"), Registerer: a.reg,
	})
	if err == nil {
		a.telemetry.SetAccessLog(c.AccessLog)
	}
	return err
}

// openDataPlane makes the activator and the gateway.
func (a *Agent) openDataPlane(context.Context) (err error) {
	c := a.cfg
	cluster := controlCluster{a.watcher}
	routed := routedCluster{cluster, a.routing.namespaceOf}
	a.activator, err = activator.New(activator.Config{
		Name: c.Name, Boot: a.boot, Endpoints: routed, Diagnoses: routed,
		Waker: &control.Waker{
			Jobs: controlNomad{a.nomad}, Purger: controlNomad{a.nomad}, Cluster: cluster, Store: a.store, Route: a.routing.route,
			Events: a.events, Owned: a.owned, Log: a.log.Named("waker"),
		},
		Dialer:   &instanceDialer{mesh: a.mesh, route: a.routing.route},
		Settings: activatorSettings(c),
		Guard:    a.guard, Peer: func(r *http.Request) string { return a.gateway.Caller(r) },
		Log: a.log.Named("activator"), Registerer: a.reg,
	})
	if err != nil {
		return err
	}
	a.drainer = newDrainer(c.Dev, a.activator, a.log)
	a.gateway, err = gateway.New(gateway.Config{
		Settings: gatewaySettings(c), Activator: a.activator, Registerer: a.reg,
		Domains: a.domains.forGateway(), Authorize: a.guard.Authorize, Log: a.log.Named("gateway"),
	})
	if err != nil {
		return err
	}
	a.drainer.endCopies = a.gateway.EndCopies
	return nil
}

// setRoutes gives new routes to every part that routes.
func (a *Agent) setRoutes(routes map[string]wadi.Route) {
	a.routing.set(routes)
	a.guard.RoutesChanged()
	a.activator.SetRoutes(routes)
	a.warnOfConflicts(a.gateway.SetRoutes(routes))
	a.domains.setRoutes(routes)
	if a.leadership.term.Load() == nil {
		a.owned.Keep(func(revision string) bool { _, routed := a.routing.namespaceOf(revision); return routed })
	}
	a.routing.announce()
	a.watcher.Refresh() // Services may be in other namespaces now.
}

func (a *Agent) warnOfConflicts(conflicts []gateway.Conflict) {
	for _, c := range conflicts {
		a.log.Warn("two services claim a host", "host", c.Host, "without", c.Service, "holder", c.Holder)
	}
}
