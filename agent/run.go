package agent

import (
	"context"

	"github.com/wadi-run/wadi"
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
		<-a.drain.Begun()
		defer close(a.drained)
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
	a.drain.Begin()
	<-a.drained
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
	s.presence.run("start", func(ctx context.Context) error { return a.join(ctx, s.presence) })
	a.pushStops(ctx, s)
	return s
}

func (a *Agent) runCore(g *group) {
	g.run("nomad", a.watcher.Run)
	g.run("routes", func(ctx context.Context) error { return a.store.WatchRoutes(ctx, a.setRoutes) })
	g.run("mesh", a.mesh.Run)
	g.run("intentions", a.guard.Run)
	g.run("activator", a.activator.Run)
	g.run("telemetry", a.telemetry.Run)
	if a.front.certs != nil {
		g.run("certificates", a.front.certs.Run)
	}
	g.run("agents", func(ctx context.Context) error {
		return a.consul.WatchRegistered(ctx, wadi.ServiceAgent, a.noteAgents, a.logWatch("agents"))
	})
	for _, service := range wadi.Activators() {
		g.run("activators", a.watchActivators(service))
	}
	g.run("leader", func(ctx context.Context) error {
		return a.consul.WatchLeader(ctx, a.store.LeaderKey(), a.leadership.observe, a.logWatch("leader"))
	})
}

// logWatch logs the errors of a watch, which goes on by itself.
func (a *Agent) logWatch(what string) func(error) {
	return func(err error) { a.log.Debug("watch failed", "what", what, "error", err) }
}
