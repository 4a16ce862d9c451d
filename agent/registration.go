package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/authz"
	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/agent/membership"
	"github.com/wadi-run/wadi/internal/consul"
)

// conflictWait is how long a dead agent may still be registered: as long as its check
// lasts, and once more.
const conflictWait = 2 * consul.DefaultTTL

// registrar registers an agent in Consul once it can serve.
type registrar struct {
	clients
	cfg                config.Config
	log                hclog.Logger
	version, boot, url string // URL of the gateway.
	api, metrics       net.Addr
	gateway, meshAddr  net.Addr

	guard        *authz.Guard
	members      *membership.Members
	routing      *routing
	installation *installation
	advertised   *advertised
	startup      *startup
}

func (a *Agent) registrar() *registrar {
	return &registrar{
		clients: a.clients, cfg: a.cfg, log: a.log, version: a.deps.Version, boot: a.boot, url: a.front.url(""),
		api: a.APIAddr(), metrics: a.MetricsAddr(), gateway: a.GatewayAddr(), meshAddr: a.MeshAddr(),
		guard: a.guard, members: a.members, routing: a.routing, installation: a.installation, advertised: a.advertised, startup: a.startup,
	}
}

// join waits until Consul and Nomad answer, and then registers the agent and contends for
// leadership, until ctx ends. It runs lead in each term, and other parts in g.
func (r *registrar) join(ctx context.Context, g *group, lead func(context.Context, *consul.Term) error) error {
	if !r.awaitCluster(ctx) {
		return nil // Stopped before.
	}
	if err := r.awaitName(ctx); err != nil {
		return err
	}
	r.startup.done()
	self := r.presence()
	r.members.Joined(self)
	// The lock depends on the registration, which therefore ends after the election.
	registration := newGroup(context.WithoutCancel(ctx))
	defer registration.stop()
	registration.run("registration", self.Run)
	g.run("activator registration", r.registerActivator)
	g.run("rights", r.logMissingRights)
	r.log.Info("agent is up", "name", r.cfg.Name, "api", r.apiURL(), "gateway", r.url, "advertise", r.advertised.get())
	value, err := json.Marshal(peer{
		Name: r.cfg.Name, URL: r.apiURL(), Mesh: r.advertised.reach(r.meshAddr), Machine: membership.MachineID(),
	})
	if err != nil {
		return fmt.Errorf("encode leader: %w", err)
	}
	return self.Elect(ctx, r.store.LeaderKey(), string(value), lead)
}

// logMissingRights logs once which rights the agent's tokens lack. Those to Consul's node may
// be known only by the registration.
func (r *registrar) logMissingRights(ctx context.Context) error {
	for end := time.Now().Add(rightsAt); time.Now().Before(end); {
		if _, valid := r.members.Registration(); valid || wadi.Sleep(ctx, tryEvery) != nil {
			break
		}
	}
	r.startup.missing(ctx)
	r.logWhoMayCall(ctx)
	return nil
}

// logWhoMayCall says when nothing tells callers of the API apart.
func (r *registrar) logWhoMayCall(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	if r.cfg.HTTP.Auth == wadi.AuthNone {
		r.log.Warn("the API has no authentication: every caller on this machine has every right, and others are refused", "setting", "http.auth")
	} else if on, err := r.nomad.ACLs(ctx); err == nil && !on {
		r.log.Warn("nomad has no ACLs, so a token proves nothing: every caller on this machine has every right, and others are refused", "setting", "http.auth")
	}
}

// awaitCluster waits for all that an agent starts with. It returns false if ctx ended.
func (r *registrar) awaitCluster(ctx context.Context) bool {
	return r.startup.await(ctx, "Consul", r.cfg.Consul.Address, r.consulReady) &&
		r.startup.await(ctx, "Nomad", r.cfg.Nomad.Address, r.nomadReady) &&
		r.startup.await(ctx, "the routes in Consul", r.cfg.Consul.Address, r.routing.ready) &&
		r.startup.await(ctx, "the intentions in Consul", r.cfg.Consul.Address, r.guard.Ready)
}

// consulReady learns where this agent is, and proves that it may write: to a token without
// rights an unreadable store looks empty.
func (r *registrar) consulReady(ctx context.Context) error {
	if _, err := r.consul.Leader(ctx); err != nil {
		return err
	}
	if r.advertised.get() == "" {
		self, err := r.consul.Self(ctx)
		if err != nil {
			return err
		}
		r.advertised.set(self.Address)
	}
	if err := r.store.Check(ctx); err != nil {
		return err
	}
	_, err := r.installation.read(ctx)
	return err
}

func (r *registrar) nomadReady(ctx context.Context) error {
	if err := r.nomad.Health(ctx); err != nil {
		return err
	}
	select {
	case <-r.watcher.Synced():
		return nil
	case <-ctx.Done():
		return errors.New("its event stream has not begun; may the token read jobs, allocations and evaluations?")
	}
}

// awaitName waits until no agent that is alive hinders this one from being registered. The
// error names the agent that still does after conflictWait.
func (r *registrar) awaitName(ctx context.Context) error {
	var since time.Time // Since when there is a conflict.
	var conflict error  // One that lasts longer than the registration of a dead agent.
	r.startup.await(ctx, "the agents in Consul", r.cfg.Consul.Address, func(ctx context.Context) error {
		own, err := r.location(ctx)
		if err != nil {
			return err
		}
		all, err := r.consul.Services(ctx, wadi.ServiceAgent)
		if err != nil {
			return err
		}
		why := r.members.JoinConflict(all, own)
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
func (r *registrar) location(ctx context.Context) (membership.Location, error) {
	self, err := r.consul.Self(ctx)
	if errors.Is(err, wadi.ErrOwnRight) {
		err = nil
	}
	return membership.Location{Node: self.Node, Machine: membership.MachineID(), HTTP: r.advertised.reach(r.api)}, err
}

// apiURL is the base URL at which others reach the API.
func (r *registrar) apiURL() string {
	scheme := "http"
	if r.cfg.HTTP.TLS.Enabled() {
		scheme = "https"
	}
	return scheme + "://" + r.advertised.reach(r.api)
}

// presence is this agent's registration in Consul.
func (r *registrar) presence() *consul.Presence {
	return &consul.Presence{
		Client: r.consul, Log: r.log.Named("consul"),
		Service: consul.AgentRegistration(r.cfg.Name, r.advertised.get(), portOf(r.api), map[string]string{
			consul.MetaHTTP:    r.advertised.reach(r.api),
			consul.MetaURL:     r.apiURL(),
			consul.MetaMesh:    r.advertised.reach(r.meshAddr),
			consul.MetaMetrics: r.advertised.reach(r.metrics),
			consul.MetaGateway: r.advertised.reach(r.gateway),
			consul.MetaVersion: r.version,
			consul.MetaMachine: membership.MachineID(),
			consul.MetaBoot:    r.boot,
			consul.MetaPrefix:  r.cfg.Consul.Prefix,
		}),
	}
}

// registerActivator keeps this agent's mesh listener in Consul, under all its names, until
// ctx ends.
func (r *registrar) registerActivator(ctx context.Context) error {
	select {
	case <-r.mesh.Ready(): // Without certificates it can serve no caller.
	case <-ctx.Done():
		return nil
	}
	host, _, _ := net.SplitHostPort(r.advertised.reach(r.meshAddr))
	var g sync.WaitGroup
	for _, service := range consul.ActivatorRegistrations(r.cfg.Name, host, portOf(r.meshAddr)) {
		p := &consul.Presence{Client: r.consul, Log: r.log.Named("consul"), Service: service}
		g.Go(func() { _ = p.Run(ctx) }) // It returns nil, and logs.
	}
	g.Wait()
	return nil
}
