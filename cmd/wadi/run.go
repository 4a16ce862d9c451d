//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

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

// run runs the node until ctx ends or a part of it fails, and drains it then: see
// runDrain. What tells of the drain goes last.
func (n *node) run(ctx context.Context) error {
	core := newParts(context.WithoutCancel(ctx))
	defer core.stop()
	core.run("nomad", n.watcher.Run)
	core.run("routes", func(ctx context.Context) error { return n.store.WatchRoutes(ctx, n.setRoutes) })
	core.run("mesh", n.mesh.Run)
	core.run("intentions", n.guard.Run)
	core.run("activator", n.activator.Run)
	core.run("telemetry", n.telemetry.Run)
	core.run("agents", func(ctx context.Context) error {
		return n.consul.WatchRegistered(ctx, wadi.ServiceAgent, n.noteAgents, n.quiet("agents"))
	})
	for _, service := range wadi.Activators() {
		core.run("activators", n.watchActivators(service))
	}
	core.run("leader", func(ctx context.Context) error {
		return n.consul.WatchLeader(ctx, n.store.LeaderKey(), n.setLeader, n.quiet("leader"))
	})

	planes := newParts(core.ctx)
	planes.run("api", func(ctx context.Context) error { return n.apiServer.Serve(ctx, n.apiListener) })
	planes.run("metrics", n.serveMetrics)

	front := newParts(core.ctx)
	front.run("gateway", n.gatewayServer.Run)
	if n.tlsServer != nil {
		core.run("certificates", n.certs.Run)
		front.run("gateway over TLS", n.tlsServer.Run)
	}
	front.run("mesh listener", n.meshServer.Run)

	presence := newParts(core.ctx)
	presence.run("start", n.start(presence))
	go n.runDrain(context.WithoutCancel(ctx), presence, front)

	select {
	case <-ctx.Done():
		n.log.Info("stopping: requests in flight are finished first")
	case <-front.failed:
	case <-core.failed:
	case <-presence.failed:
	case <-planes.failed:
	}
	n.drain.Begin()
	<-n.drained
	planes.stop()
	core.stop()
	n.nomad.Close()
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
func (n *node) quiet(what string) func(error) {
	return func(err error) { n.log.Debug("watch failed", "what", what, "error", err) }
}

func (n *node) setRoutes(routes map[string]wadi.Route) {
	n.routes.Store(&routes)
	defer n.watcher.Renew() // Services may be in other namespaces now.
	n.guard.RoutesChanged()
	n.activator.SetRoutes(routes)
	defer n.routedOnce.Do(func() { close(n.routed) })
	for _, c := range n.gateway.SetRoutes(routes) {
		n.log.Warn("two services claim a host", "host", c.Host, "without", c.Service, "holder", c.Holder)
	}
}

func (n *node) serveMetrics(ctx context.Context) error {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if n.metricsServer.Shutdown(bound) != nil {
			_ = n.metricsServer.Close() // Polls that wait; their readers ask again elsewhere.
		}
	}()
	err := n.metricsServer.Serve(n.metricsLn)
	if errors.Is(err, http.ErrServerClosed) {
		<-stopped
		return nil
	}
	return fmt.Errorf("serve metrics: %w", err)
}

// newLogger makes the agent's logger. Level trace to error, as Nomad and Consul.
func newLogger(level string, asJSON bool, out interface{ Write([]byte) (int, error) }) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name: "wadi", Level: hclog.LevelFromString(level), Output: out, JSONFormat: asJSON,
		TimeFormat: "2006-01-02T15:04:05.000Z0700",
	})
}
