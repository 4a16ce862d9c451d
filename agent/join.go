package agent

import (
	"context"
	"errors"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/membership"
	"github.com/wadi-run/wadi/internal/consul"
)

// joinWait is how long a dead agent may still be registered: as long as its check lasts,
// and once more.
const joinWait = 2 * consul.DefaultTTL

// mayJoin waits until no agent that is alive hinders this one from being registered. The
// error says which one still does after joinWait.
func (a *Agent) mayJoin(ctx context.Context) error {
	var since time.Time // Since when there is a conflict.
	var conflict error  // One that lasts longer than the registration of a dead agent.
	a.await(ctx, "the agents in Consul", a.cfg.Consul.Address, func(ctx context.Context) error {
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
		if time.Since(since) > joinWait {
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
	return membership.Location{Node: self.Node, Machine: membership.MachineID(), HTTP: a.reachable(a.apiListener.Addr())}, err
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
		}, a.quiet("activators"))
	}
}
