package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
)

// parts runs parts of a node. The first that fails ends all.
type parts struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
	failed chan struct{} // Closed when a part has failed.
	once   sync.Once
}

func newParts(ctx context.Context) *parts {
	g := &parts{failed: make(chan struct{})}
	g.ctx, g.cancel = context.WithCancelCause(ctx)
	return g
}

func (g *parts) run(name string, f func(context.Context) error) {
	g.wg.Go(func() {
		if err := f(g.ctx); err != nil {
			g.cancel(fmt.Errorf("%s: %w", name, err))
			g.once.Do(func() { close(g.failed) })
		}
	})
}

// stop ends the group's parts and waits for them.
func (g *parts) stop() {
	g.cancel(context.Canceled)
	g.wg.Wait()
}

// Run runs the agent until ctx ends or a part of it fails, and drains it then: see
// runDrain. What tells of the drain goes last.
func (a *Agent) Run(ctx context.Context) error {
	core := newParts(context.WithoutCancel(ctx))
	defer core.stop()
	core.run("nomad", a.watcher.Run)
	core.run("routes", func(ctx context.Context) error { return a.store.WatchRoutes(ctx, a.setRoutes) })
	core.run("mesh", a.mesh.Run)
	core.run("intentions", a.guard.Run)
	core.run("activator", a.activator.Run)
	core.run("telemetry", a.telemetry.Run)
	core.run("agents", func(ctx context.Context) error {
		return a.consul.WatchRegistered(ctx, wadi.ServiceAgent, a.noteAgents, a.quiet("agents"))
	})
	for _, service := range wadi.Activators() {
		core.run("activators", a.watchActivators(service))
	}
	core.run("leader", func(ctx context.Context) error {
		return a.consul.WatchLeader(ctx, a.store.LeaderKey(), a.setLeader, a.quiet("leader"))
	})

	planes := newParts(core.ctx)
	planes.run("api", func(ctx context.Context) error { return a.apiServer.Serve(ctx, a.apiListener) })
	planes.run("metrics", a.serveMetrics)

	front := newParts(core.ctx)
	front.run("gateway", a.gatewayServer.Run)
	if a.tlsServer != nil {
		core.run("certificates", a.certs.Run)
		front.run("gateway over TLS", a.tlsServer.Run)
	}
	front.run("mesh listener", a.meshServer.Run)

	presence := newParts(core.ctx)
	presence.run("start", a.start(presence))
	go a.runDrain(context.WithoutCancel(ctx), presence, front)

	select {
	case <-ctx.Done():
		a.log.Info("stopping: requests in flight are finished first")
	case <-front.failed:
	case <-core.failed:
	case <-presence.failed:
	case <-planes.failed:
	}
	a.drain.Begin()
	<-a.drained
	planes.stop()
	core.stop()
	a.nomad.Close()
	if ctx.Err() != nil {
		return nil
	}
	return firstCause(presence, front, planes, core)
}

func firstCause(groups ...*parts) error {
	for _, g := range groups {
		if err := context.Cause(g.ctx); err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return nil
}

// quiet reports what a watch can't do for now; it goes on by itself.
func (a *Agent) quiet(what string) func(error) {
	return func(err error) { a.log.Debug("watch failed", "what", what, "error", err) }
}

func (a *Agent) setRoutes(routes map[string]wadi.Route) {
	a.routes.Store(&routes)
	defer a.watcher.Refresh() // Services may be in other namespaces now.
	a.guard.RoutesChanged()
	a.activator.SetRoutes(routes)
	defer a.routedOnce.Do(func() { close(a.routed) })
	for _, c := range a.gateway.SetRoutes(routes) {
		a.log.Warn("two services claim a host", "host", c.Host, "without", c.Service, "holder", c.Holder)
	}
}

func (a *Agent) serveMetrics(ctx context.Context) error {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if a.metricsServer.Shutdown(bound) != nil {
			_ = a.metricsServer.Close() // Polls that wait; their readers ask again elsewhere.
		}
	}()
	err := a.metricsServer.Serve(a.metricsLn)
	if errors.Is(err, http.ErrServerClosed) {
		<-stopped
		return nil
	}
	return fmt.Errorf("serve metrics: %w", err)
}
