//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/wadi-run/wadi/internal/consul"
)

// start waits until Consul and Nomad answer, saying so, and then registers the
// agent and contends for leadership.
func (n *node) start(g *parts) func(context.Context) error {
	return func(ctx context.Context) error {
		if !n.await(ctx, "Consul", n.cfg.Consul.Address, n.consulReady) ||
			!n.await(ctx, "Nomad", n.cfg.Nomad.Address, n.nomadReady) ||
			!n.await(ctx, "the routes in Consul", n.cfg.Consul.Address, n.routesReady) ||
			!n.await(ctx, "the intentions in Consul", n.cfg.Consul.Address, n.guard.Ready) {
			return nil // Stopped before.
		}
		if err := n.mayJoin(ctx); err != nil {
			return err
		}
		n.waits.Store(nil)
		self := &consul.Presence{
			Client: n.consul, Log: n.log.Named("consul"),
			Service: consul.AgentRegistration(n.cfg.Name, *n.advertise.Load(), n.port(n.apiListener.Addr()), map[string]string{
				consul.MetaHTTP:    n.reachable(n.apiListener.Addr()),
				consul.MetaMetrics: n.reachable(n.metricsLn.Addr()),
				consul.MetaGateway: n.reachable(n.gatewayServer.Addr()),
				consul.MetaVersion: buildVersion().Version,
				consul.MetaMachine: machineID(),
				consul.MetaBoot:    n.boot,
				consul.MetaPrefix:  n.cfg.Consul.Prefix,
			}),
		}
		n.presence.Store(self)
		// The lock hangs on the registration, which therefore outlives the election.
		outer := newParts(context.WithoutCancel(ctx))
		outer.run("registration", self.Run)
		g.run("activator registration", n.registerActivator)
		n.log.Info("agent is up", "name", n.cfg.Name, "api", n.apiListener.Addr().String(), "gateway", n.gatewayURL(""), "advertise", *n.advertise.Load())
		value, err := json.Marshal(leaderInfo{
			Name: n.cfg.Name, URL: "http://" + n.reachable(n.apiListener.Addr()), Mesh: n.reachable(n.meshServer.Addr()), Machine: machineID(),
		})
		if err != nil {
			return fmt.Errorf("encode leader: %w", err)
		}
		err = self.Elect(ctx, n.store.LeaderKey(), string(value), n.lead)
		outer.stop()
		return err
	}
}

// registerActivator keeps this agent's mesh listener in Consul, under all its
// names, until ctx ends.
func (n *node) registerActivator(ctx context.Context) error {
	var g sync.WaitGroup
	defer g.Wait()
	select {
	case <-n.mesh.Ready(): // Without certificates it could serve nobody.
	case <-ctx.Done():
		return nil
	}
	host, _, _ := net.SplitHostPort(n.reachable(n.meshServer.Addr()))
	for _, r := range consul.ActivatorRegistrations(n.cfg.Name, host, n.port(n.meshServer.Addr())) {
		p := &consul.Presence{Client: n.consul, Log: n.log.Named("consul"), Service: r}
		g.Go(func() { _ = p.Run(ctx) }) // It returns nil always, and logs.
	}
	<-ctx.Done()
	return nil
}

// await tries until ready succeeds. It says at once, and then every half minute,
// what it waits for.
func (n *node) await(ctx context.Context, what, address string, ready func(context.Context) error) bool {
	var told time.Time
	for ctx.Err() == nil {
		try, cancel := context.WithTimeout(ctx, 3*time.Second)
		err := ready(try)
		cancel()
		if err == nil {
			if !told.IsZero() {
				n.log.Info("reached", "what", what)
			}
			return true
		}
		why := fmt.Sprintf("waits for %s at %s: %v", what, address, err)
		n.waits.Store(&why)
		if time.Since(told) > 30*time.Second && ctx.Err() == nil {
			n.log.Warn("waiting", "for", what, "address", address, "error", err)
			told = time.Now()
		}
		sleep(ctx, 250*time.Millisecond)
	}
	return false
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// consulReady learns where this agent is, and proves that it may write: to a
// token without rights an unreadable store looks empty.
func (n *node) consulReady(ctx context.Context) error {
	if _, err := n.consul.Leader(ctx); err != nil {
		return err
	}
	if *n.advertise.Load() == "" {
		self, err := n.consul.Self(ctx)
		if err != nil {
			return err
		}
		n.advertise.Store(&self.Address)
	}
	if err := n.store.Check(ctx); err != nil {
		return err
	}
	_, err := n.learnInstallation(ctx)
	return err
}

// learnInstallation asks what tells this installation's jobs from others', and keeps it.
func (n *node) learnInstallation(ctx context.Context) (string, error) {
	name, err := n.store.Installation(ctx)
	if err == nil {
		n.installation.Store(&name)
	}
	return name, err
}

func (n *node) nomadReady(ctx context.Context) error {
	if err := n.nomad.Health(ctx); err != nil {
		return err
	}
	select {
	case <-n.watcher.Synced():
		return nil
	case <-ctx.Done():
		return errors.New("its event stream has not begun; may the token read jobs, allocations and evaluations?")
	}
}

// routesReady waits for the routes: without them every service would be unknown.
func (n *node) routesReady(ctx context.Context) error {
	select {
	case <-n.routed:
		return nil
	case <-ctx.Done():
		return errors.New("they are not read yet")
	}
}

func (n *node) port(a net.Addr) int {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.Port
	}
	return 0
}

// reachable is where others reach a listener of this agent.
func (n *node) reachable(a net.Addr) string {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return a.String()
	}
	host := t.IP.String()
	if t.IP.IsUnspecified() {
		host = *n.advertise.Load()
	}
	return net.JoinHostPort(host, fmt.Sprint(t.Port))
}
