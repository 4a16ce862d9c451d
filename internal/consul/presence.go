package consul

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
)

// Defaults of a [Presence].
const (
	DefaultTTL   = 4 * time.Second
	DefaultEvery = time.Second
)

// deregisterAfter is when Consul removes a registration whose agent has vanished.
const deregisterAfter = "10m"

// Registration is a service instance in the catalog of the local Consul agent.
type Registration struct {
	ID            string
	Name          string
	Address       string // Empty: the node's.
	Port          int
	Meta          map[string]string
	ConnectNative bool // It terminates the mesh's mTLS itself.
}

// Names of the meta of an agent's registration.
const (
	MetaHTTP    = "http"    // host:port of the API.
	MetaURL     = "url"     // Base URL of the API.
	MetaMesh    = "mesh"    // host:port of the mesh listener.
	MetaMetrics = "metrics" // host:port of the metrics listener.
	MetaGateway = "gateway" // host:port of the gateway.
	MetaVersion = "version"
	MetaBoot    = "boot"    // Identifies this run of the agent.
	MetaPrefix  = "prefix"  // Of the keys in Consul: identifies this installation.
	MetaMachine = "machine" // Identifies the machine and its network namespace.
)

// AgentRegistration is the registration of a Wadi agent, by which agents find each other.
func AgentRegistration(name, address string, port int, meta map[string]string) Registration {
	return Registration{ID: registrationID(wadi.ServiceAgent, name), Name: wadi.ServiceAgent, Address: address, Port: port, Meta: meta}
}

// ActivatorRegistrations are the registrations of an agent's mesh listener: under one name
// per protocol, because Consul refuses a failover between protocols.
func ActivatorRegistrations(name, address string, port int) []Registration {
	var all []Registration
	for _, service := range wadi.Activators() {
		all = append(all, Registration{
			ID: registrationID(service, name), Name: service, Address: address, Port: port, ConnectNative: true,
		})
	}
	return all
}

// registrationID is the ID of an agent's registration of a service. Names have no colon,
// so all IDs differ.
func registrationID(service, name string) string { return service + ":" + name }

// AgentName is the name of the agent in the ID of a registration.
func AgentName(id string) string {
	_, name, _ := strings.Cut(id, ":")
	return name
}

// Presence keeps a service instance registered and its TTL check passing, also after
// Consul's agent has restarted and forgotten it. Set its fields before Run.
type Presence struct {
	Client  *Client
	Service Registration
	TTL     time.Duration // 0: DefaultTTL.
	Every   time.Duration // Between two passes of the check; 0: DefaultEvery.
	Log     hclog.Logger

	alive atomic.Pointer[time.Time] // See AliveUntil. Written by Run.
}

// Run registers, passes the check until ctx ends, and deregisters then. It retries failed
// passes, and always returns nil.
func (p *Presence) Run(ctx context.Context) error {
	defer p.deregister(ctx)
	tick := time.NewTicker(p.every())
	defer tick.Stop()
	registered, passed := false, true
	for {
		err := p.pass(ctx, &registered)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && passed:
			p.Log.Warn("not registered in consul, retrying", "service", p.Service.ID, "error", err)
		case err == nil && !passed:
			p.Log.Info("registered in consul again", "service", p.Service.ID)
		}
		passed = err == nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// AliveUntil is the earliest time at which Consul may consider the instance dead; zero
// before the first pass.
func (p *Presence) AliveUntil() time.Time {
	if t := p.alive.Load(); t != nil {
		return *t
	}
	return time.Time{}
}

// CheckID names the TTL check of the registration.
func (p *Presence) CheckID() string { return "service:" + p.Service.ID }

func (p *Presence) pass(ctx context.Context, registered *bool) error {
	ctx, cancel := context.WithTimeout(ctx, p.ttl()/2)
	defer cancel()
	if *registered {
		sent := time.Now()
		err := p.update(ctx)
		if err == nil {
			p.notePassed(sent)
			return nil
		}
		if !errors.Is(err, wadi.ErrNotFound) {
			return err
		}
		*registered = false // Consul's agent restarted without its data.
	}
	sent := time.Now()
	if err := p.register(ctx); err != nil {
		return err
	}
	*registered = true
	p.notePassed(sent)
	return nil
}

// notePassed stores the time at which a pass was sent: Consul counts from its receipt, so
// this side gives up first.
func (p *Presence) notePassed(sent time.Time) {
	until := sent.Add(p.ttl())
	p.alive.Store(&until)
}

func (p *Presence) update(ctx context.Context) error {
	q := (&api.QueryOptions{}).WithContext(ctx)
	err := p.Client.api().Agent().UpdateTTLOpts(p.CheckID(), "", api.HealthPassing, q)
	return Wrap("pass check "+p.CheckID(), err)
}

func (p *Presence) register(ctx context.Context) error {
	s := p.Service
	reg := &api.AgentServiceRegistration{
		ID: s.ID, Name: s.Name, Address: s.Address, Port: s.Port, Meta: s.Meta,
		Check: &api.AgentServiceCheck{
			CheckID:                        p.CheckID(),
			Name:                           fmt.Sprintf("%s is alive", s.ID),
			TTL:                            p.ttl().String(),
			Status:                         api.HealthPassing,
			DeregisterCriticalServiceAfter: deregisterAfter,
		},
	}
	if s.ConnectNative {
		reg.Connect = &api.AgentServiceConnect{Native: true}
	}
	opts := api.ServiceRegisterOpts{ReplaceExistingChecks: true}.WithContext(ctx)
	return Wrap("register "+s.ID, p.Client.api().Agent().ServiceRegisterOpts(reg, opts))
}

// deregister removes the registration, although ctx has ended. If it fails, Consul removes
// it after deregisterAfter.
func (p *Presence) deregister(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.ttl()/2)
	defer cancel()
	p.alive.Store(nil)
	err := p.Client.api().Agent().ServiceDeregisterOpts(p.Service.ID, (&api.QueryOptions{}).WithContext(ctx))
	if err = Wrap("deregister", err); err != nil && !isNotFound(err) {
		p.Log.Warn("not deregistered from consul", "service", p.Service.ID, "error", err)
	}
}

func (p *Presence) ttl() time.Duration {
	if p.TTL > 0 {
		return p.TTL
	}
	return DefaultTTL
}

func (p *Presence) every() time.Duration {
	if p.Every > 0 {
		return p.Every
	}
	return DefaultEvery
}
