package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/wadi-run/wadi/agent/membership"
	"github.com/wadi-run/wadi/internal/consul"
)

// start waits until Consul and Nomad answer, saying so, and then registers the
// agent and contends for leadership.
func (a *Agent) start(g *parts) func(context.Context) error {
	return func(ctx context.Context) error {
		if !a.await(ctx, "Consul", a.cfg.Consul.Address, a.consulReady) ||
			!a.await(ctx, "Nomad", a.cfg.Nomad.Address, a.nomadReady) ||
			!a.await(ctx, "the routes in Consul", a.cfg.Consul.Address, a.routesReady) ||
			!a.await(ctx, "the intentions in Consul", a.cfg.Consul.Address, a.guard.Ready) {
			return nil // Stopped before.
		}
		if err := a.mayJoin(ctx); err != nil {
			return err
		}
		a.waits.Store(nil)
		self := &consul.Presence{
			Client: a.consul, Log: a.log.Named("consul"),
			Service: consul.AgentRegistration(a.cfg.Name, *a.advertise.Load(), port(a.apiListener.Addr()), map[string]string{
				consul.MetaHTTP:    a.reachable(a.apiListener.Addr()),
				consul.MetaMetrics: a.reachable(a.metricsLn.Addr()),
				consul.MetaGateway: a.reachable(a.gatewayServer.Addr()),
				consul.MetaVersion: a.deps.Version,
				consul.MetaMachine: membership.MachineID(),
				consul.MetaBoot:    a.boot,
				consul.MetaPrefix:  a.cfg.Consul.Prefix,
			}),
		}
		a.members.Joined(self)
		// The lock hangs on the registration, which therefore outlives the election.
		outer := newParts(context.WithoutCancel(ctx))
		outer.run("registration", self.Run)
		g.run("activator registration", a.registerActivator)
		a.log.Info("agent is up", "name", a.cfg.Name, "api", a.apiListener.Addr().String(), "gateway", a.gatewayURL(""), "advertise", *a.advertise.Load())
		value, err := json.Marshal(leaderInfo{
			Name: a.cfg.Name, URL: "http://" + a.reachable(a.apiListener.Addr()), Mesh: a.reachable(a.meshServer.Addr()), Machine: membership.MachineID(),
		})
		if err != nil {
			return fmt.Errorf("encode leader: %w", err)
		}
		err = self.Elect(ctx, a.store.LeaderKey(), string(value), a.lead)
		outer.stop()
		return err
	}
}

// registerActivator keeps this agent's mesh listener in Consul, under all its
// names, until ctx ends.
func (a *Agent) registerActivator(ctx context.Context) error {
	var g sync.WaitGroup
	defer g.Wait()
	select {
	case <-a.mesh.Ready(): // Without certificates it could serve nobody.
	case <-ctx.Done():
		return nil
	}
	host, _, _ := net.SplitHostPort(a.reachable(a.meshServer.Addr()))
	for _, r := range consul.ActivatorRegistrations(a.cfg.Name, host, port(a.meshServer.Addr())) {
		p := &consul.Presence{Client: a.consul, Log: a.log.Named("consul"), Service: r}
		g.Go(func() { _ = p.Run(ctx) }) // It returns nil always, and logs.
	}
	<-ctx.Done()
	return nil
}

// await tries until ready succeeds. It says at once, and then every half minute,
// what it waits for.
func (a *Agent) await(ctx context.Context, what, address string, ready func(context.Context) error) bool {
	var told time.Time
	for ctx.Err() == nil {
		try, cancel := context.WithTimeout(ctx, 3*time.Second)
		err := ready(try)
		cancel()
		if err == nil {
			if !told.IsZero() {
				a.log.Info("reached", "what", what)
			}
			return true
		}
		why := fmt.Sprintf("waits for %s at %s: %v", what, address, err)
		a.waits.Store(&why)
		if time.Since(told) > 30*time.Second && ctx.Err() == nil {
			a.log.Warn("waiting", "for", what, "address", address, "error", err)
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
func (a *Agent) consulReady(ctx context.Context) error {
	if _, err := a.consul.Leader(ctx); err != nil {
		return err
	}
	if *a.advertise.Load() == "" {
		self, err := a.consul.Self(ctx)
		if err != nil {
			return err
		}
		a.advertise.Store(&self.Address)
	}
	if err := a.store.Check(ctx); err != nil {
		return err
	}
	_, err := a.learnInstallation(ctx)
	return err
}

// learnInstallation asks what tells this installation's jobs from others', and keeps it.
func (a *Agent) learnInstallation(ctx context.Context) (string, error) {
	name, err := a.store.Installation(ctx)
	if err == nil {
		a.installation.Store(&name)
	}
	return name, err
}

func (a *Agent) nomadReady(ctx context.Context) error {
	if err := a.nomad.Health(ctx); err != nil {
		return err
	}
	select {
	case <-a.watcher.Synced():
		return nil
	case <-ctx.Done():
		return errors.New("its event stream has not begun; may the token read jobs, allocations and evaluations?")
	}
}

// routesReady waits for the routes: without them every service would be unknown.
func (a *Agent) routesReady(ctx context.Context) error {
	select {
	case <-a.routed:
		return nil
	case <-ctx.Done():
		return errors.New("they are not read yet")
	}
}

func port(addr net.Addr) int {
	if t, ok := addr.(*net.TCPAddr); ok {
		return t.Port
	}
	return 0
}

// reachable is where others reach a listener of this agent.
func (a *Agent) reachable(addr net.Addr) string {
	t, ok := addr.(*net.TCPAddr)
	if !ok {
		return addr.String()
	}
	host := t.IP.String()
	if t.IP.IsUnspecified() {
		host = *a.advertise.Load()
	}
	return net.JoinHostPort(host, fmt.Sprint(t.Port))
}
