package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/consul"
)

// joinWait is how long one may still be registered that died: as long as its check
// lasts, and once more.
const joinWait = 2 * consul.DefaultTTL

// mayJoin waits until nobody alive hinders this agent from being registered, and says
// for what.
func (a *Agent) mayJoin(ctx context.Context) error {
	var since time.Time // It has been hindered.
	var hindered error  // For longer than an agent that died is alive for Consul.
	a.await(ctx, "the agents in Consul", a.cfg.Consul.Address, func(ctx context.Context) error {
		own, err := a.whereabouts(ctx)
		if err != nil {
			return err
		}
		all, err := a.consul.Services(ctx, wadi.ServiceAgent)
		if err != nil {
			return err
		}
		why := whyNotJoin(all, a.cfg.Name, a.cfg.Consul.Prefix, own)
		if why == "" {
			return nil
		}
		if since.IsZero() {
			since = time.Now()
		}
		if time.Since(since) > joinWait {
			hindered = errors.New(why)
			return nil
		}
		return errors.New(why)
	})
	return hindered
}

// whereabouts are this agent's. Without the right to ask for it the node is not known.
func (a *Agent) whereabouts(ctx context.Context) (whereabouts, error) {
	self, err := a.consul.Self(ctx)
	if errors.Is(err, wadi.ErrOwnRight) {
		err = nil
	}
	return whereabouts{node: self.Node, machine: machineID(), http: a.reachable(a.apiListener.Addr())}, err
}

// whyNotJoin says which of the agents that are alive hinders one of a name and a prefix
// that is at own; empty: none. Two of one name would take turns at one registration,
// and at the lock with it. Two installations in one datacenter would be led to each
// other's activators, and have the same jobs and names in the mesh.
func whyNotJoin(alive []consul.Instance, name, prefix string, own whereabouts) string {
	for _, a := range alive {
		if consul.AgentName(a.ID) == name && own.isAnother(a) {
			return fmt.Sprintf("an agent named %q is alive on node %s, with its API at %s: give this one another name (name, or -name)", name, a.Node, a.Meta[consul.MetaHTTP])
		}
	}
	return whoElse(alive, name, prefix)
}

// whereabouts are where an agent runs. Its address alone does not tell: on every machine
// there is a 127.0.0.1:4747.
type whereabouts struct{ node, machine, http string }

// isAnother says whether a registration of our name is of an agent somewhere else. One
// that was here before us has the same whereabouts.
func (w whereabouts) isAnother(a consul.Instance) bool {
	machine := a.Meta[consul.MetaMachine] // Of an earlier version it is not known.
	return w.node != "" && a.Node != w.node || a.Meta[consul.MetaHTTP] != w.http || machine != "" && w.machine != "" && machine != w.machine
}

// whoElse says which agent that is alive is of another installation; empty: none.
func whoElse(alive []consul.Instance, name, prefix string) string {
	_, others := byPrefix(alive, prefix)
	for _, a := range others {
		if consul.AgentName(a.ID) != name { // Its own registration of before is replaced.
			return fmt.Sprintf("agent %q at %s belongs to another installation of Wadi in this datacenter of Consul, with the prefix %q and not %q: there can be one; give both the same consul.prefix, or this one a Consul of its own",
				consul.AgentName(a.ID), a.Meta[consul.MetaHTTP], a.Meta[consul.MetaPrefix], prefix)
		}
	}
	return ""
}

// byPrefix tells the agents of an installation from those of others. Older agents do not
// say their prefix.
func byPrefix(all []consul.Instance, prefix string) (ours, others []consul.Instance) {
	for _, a := range all {
		if p, said := a.Meta[consul.MetaPrefix]; said && p != prefix {
			others = append(others, a)
		} else {
			ours = append(ours, a)
		}
	}
	return ours, others
}

// noteAgents takes in the agents that Consul lists. Those of another installation, which
// has come at the same moment, are no peers.
func (a *Agent) noteAgents(all []consul.Instance) {
	all, others := byPrefix(all, a.cfg.Consul.Prefix)
	a.roster.note(all, time.Now())
	a.gone.note(all, time.Now())
	alive := consul.Passing(all)
	a.agents.Store(&alive)
	a.healthy.set(wadi.ServiceAgent, len(alive))
	a.activator.SetPeers(len(alive))
	why := whoElse(consul.Passing(others), a.cfg.Name, a.cfg.Consul.Prefix)
	if old := a.stranger.Swap(&why); why != "" && (old == nil || *old != why) {
		a.log.Error("not alone", "error", why)
	}
}
