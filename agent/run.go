package agent

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/internal/consul"
)

// stages are the groups of parts that run together, in the order in which they start.
type stages struct {
	core     *group // What all others need: clients, routes, intentions, the activator.
	planes   *group // The API and the metrics listener, which report a drain to its end.
	front    *group // The listeners for requests.
	presence *group // The registration in Consul, and leadership.
}

// Run runs the agent until ctx ends or a part of it fails. Then it drains, stops all parts
// and closes all that New opened. It returns nil if ctx ended, else the error of the part.
func (a *Agent) Run(ctx context.Context) error {
	s := a.start(context.WithoutCancel(ctx))
	go func() {
		<-a.drainer.Begun()
		defer close(a.drainer.done)
		a.opened.stopAbove(planesName)
	}()
	select {
	case <-ctx.Done():
		a.log.Info("stopping: requests in flight are finished first")
	case <-s.front.failed:
	case <-s.core.failed:
	case <-s.presence.failed:
	case <-s.planes.failed:
	}
	a.drainer.Begin()
	<-a.drainer.done
	a.opened.stopAbove("")
	if ctx.Err() != nil {
		return nil
	}
	return firstError(s.presence, s.front, s.planes, s.core)
}

// start starts all parts, stage by stage, and pushes how each is stopped.
func (a *Agent) start(ctx context.Context) *stages {
	core := newGroup(ctx)
	s := &stages{core: core, planes: newGroup(core.ctx), front: newGroup(core.ctx), presence: newGroup(core.ctx)}
	a.runCore(s.core)
	s.planes.run("api", a.api.run)
	s.planes.run("metrics", a.metrics.run)
	a.front.run(s.front)
	s.presence.run("start", func(ctx context.Context) error { return a.registrar().join(ctx, s.presence, a.terms().lead) })
	a.drainer.pushStops(ctx, a.opened, s)
	return s
}

func (a *Agent) runCore(g *group) {
	g.run("nomad", a.watcher.Run)
	g.run("routes", func(ctx context.Context) error { return a.store.WatchRoutes(ctx, a.setRoutes) })
	g.run("changes", a.changes.Run)
	g.run("mesh", a.mesh.Run)
	g.run("intentions", a.guard.Run)
	g.run("activator", a.activator.Run)
	g.run("telemetry", a.telemetry.Run)
	if a.assets != nil {
		g.run("assets", a.assets.keeper.Run)
	}
	if a.front.certs != nil {
		g.run("certificates", a.front.certs.Run)
	}
	if a.domains != nil {
		g.run("certificates of domains", a.domains.holder.Run)
	}
	if a.api.tls != nil {
		g.run("certificate of the API", a.api.tls.Run)
	}
	g.run("agents", func(ctx context.Context) error {
		return a.consul.WatchRegistered(ctx, wadi.ServiceAgent, a.noteAgents, logWatch(a.log, "agents"))
	})
	for _, service := range wadi.Activators() {
		g.run("activators", a.watchActivators(service))
	}
	g.run("leader", func(ctx context.Context) error {
		return a.consul.WatchLeader(ctx, a.store.LeaderKey(), a.leadership.observe, logWatch(a.log, "leader"))
	})
}

// logWatch logs the errors of a watch, which goes on by itself.
func logWatch(log hclog.Logger, what string) func(error) {
	return func(err error) { log.Debug("watch failed", "what", what, "error", err) }
}

// noteAgents takes in the agents that Consul lists.
func (a *Agent) noteAgents(listed []consul.Instance) {
	a.activator.SetPeers(a.members.Note(listed, time.Now()))
}

// watchActivators counts the healthy activators of one protocol, until ctx ends.
func (a *Agent) watchActivators(service string) func(context.Context) error {
	return func(ctx context.Context) error {
		return a.consul.WatchServices(ctx, service, func(all []consul.Instance) {
			a.members.SetHealthy(service, len(all))
		}, logWatch(a.log, "activators"))
	}
}

// statisticsSources lists all agents as sources of statistics: this one, whether Consul
// lists it or not, and those that there were lately.
func (a *Agent) statisticsSources() []control.Source {
	return a.members.Sources(a.advertised.reach(a.MetricsAddr()), time.Now())
}

// urlOf returns the URL of a service; empty if it is not public.
func (a *Agent) urlOf(s wadi.Service) string {
	if s.Visibility != wadi.Public {
		return ""
	}
	return a.front.url(s.Name)
}
