package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/membership"
	"github.com/wadi-run/wadi/internal/consul"
)

// conflictWait is how long a dead agent may still be registered: as long as its check
// lasts, and once more.
const conflictWait = 2 * consul.DefaultTTL

// join waits until Consul and Nomad answer, and then registers the agent and contends for
// leadership, until ctx ends. Parts that it starts run in g.
func (a *Agent) join(ctx context.Context, g *group) error {
	if !a.awaitCluster(ctx) {
		return nil // Stopped before.
	}
	if err := a.awaitName(ctx); err != nil {
		return err
	}
	a.startup.done()
	self := a.presence()
	a.members.Joined(self)
	// The lock depends on the registration, which therefore ends after the election.
	registration := newGroup(context.WithoutCancel(ctx))
	defer registration.stop()
	registration.run("registration", self.Run)
	g.run("activator registration", a.registerActivator)
	a.log.Info("agent is up", "name", a.cfg.Name, "api", a.APIAddr().String(), "gateway", a.front.url(""), "advertise", a.advertised.get())
	value, err := json.Marshal(leaderInfo{
		Name: a.cfg.Name, URL: "http://" + a.advertised.reach(a.APIAddr()),
		Mesh: a.advertised.reach(a.MeshAddr()), Machine: membership.MachineID(),
	})
	if err != nil {
		return fmt.Errorf("encode leader: %w", err)
	}
	return self.Elect(ctx, a.store.LeaderKey(), string(value), a.lead)
}

// awaitCluster waits for all that an agent starts with. It returns false if ctx ended.
func (a *Agent) awaitCluster(ctx context.Context) bool {
	return a.startup.await(ctx, "Consul", a.cfg.Consul.Address, a.consulReady) &&
		a.startup.await(ctx, "Nomad", a.cfg.Nomad.Address, a.nomadReady) &&
		a.startup.await(ctx, "the routes in Consul", a.cfg.Consul.Address, a.routing.ready) &&
		a.startup.await(ctx, "the intentions in Consul", a.cfg.Consul.Address, a.guard.Ready)
}

// consulReady learns where this agent is, and proves that it may write: to a token without
// rights an unreadable store looks empty.
func (a *Agent) consulReady(ctx context.Context) error {
	if _, err := a.consul.Leader(ctx); err != nil {
		return err
	}
	if a.advertised.get() == "" {
		self, err := a.consul.Self(ctx)
		if err != nil {
			return err
		}
		a.advertised.set(self.Address)
	}
	if err := a.store.Check(ctx); err != nil {
		return err
	}
	_, err := a.installation.read(ctx)
	return err
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

// awaitName waits until no agent that is alive hinders this one from being registered. The
// error names the agent that still does after conflictWait.
func (a *Agent) awaitName(ctx context.Context) error {
	var since time.Time // Since when there is a conflict.
	var conflict error  // One that lasts longer than the registration of a dead agent.
	a.startup.await(ctx, "the agents in Consul", a.cfg.Consul.Address, func(ctx context.Context) error {
		own, err := a.location(ctx)
		if err != nil {
			return err
		}
		all, err := a.consul.Services(ctx, wadi.ServiceAgent)
		if err != nil {
			return err
		}
		why := a.members.JoinConflict(all, own)
		if why == "" {
			return nil
		}
		if since.IsZero() {
			since = time.Now()
		}
		if time.Since(since) > conflictWait {
			conflict = errors.New(why)
			return nil
		}
		return errors.New(why)
	})
	return conflict
}

// location is this agent's. Without the right to read it the node is not known.
func (a *Agent) location(ctx context.Context) (membership.Location, error) {
	self, err := a.consul.Self(ctx)
	if errors.Is(err, wadi.ErrOwnRight) {
		err = nil
	}
	return membership.Location{Node: self.Node, Machine: membership.MachineID(), HTTP: a.advertised.reach(a.APIAddr())}, err
}

// presence is this agent's registration in Consul.
func (a *Agent) presence() *consul.Presence {
	return &consul.Presence{
		Client: a.consul, Log: a.log.Named("consul"),
		Service: consul.AgentRegistration(a.cfg.Name, a.advertised.get(), portOf(a.APIAddr()), map[string]string{
			consul.MetaHTTP:    a.advertised.reach(a.APIAddr()),
			consul.MetaMetrics: a.advertised.reach(a.MetricsAddr()),
			consul.MetaGateway: a.advertised.reach(a.GatewayAddr()),
			consul.MetaVersion: a.deps.Version,
			consul.MetaMachine: membership.MachineID(),
			consul.MetaBoot:    a.boot,
			consul.MetaPrefix:  a.cfg.Consul.Prefix,
		}),
	}
}

// registerActivator keeps this agent's mesh listener in Consul, under all its names, until
// ctx ends.
func (a *Agent) registerActivator(ctx context.Context) error {
	select {
	case <-a.mesh.Ready(): // Without certificates it can serve no caller.
	case <-ctx.Done():
		return nil
	}
	host, _, _ := net.SplitHostPort(a.advertised.reach(a.MeshAddr()))
	var g sync.WaitGroup
	for _, r := range consul.ActivatorRegistrations(a.cfg.Name, host, portOf(a.MeshAddr())) {
		p := &consul.Presence{Client: a.consul, Log: a.log.Named("consul"), Service: r}
		g.Go(func() { _ = p.Run(ctx) }) // It returns nil, and logs.
	}
	g.Wait()
	return nil
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
		}, a.logWatch("activators"))
	}
}
