// Package agent is one Wadi agent: it opens the listeners, wires the parts, runs them and
// stops them in order.
//
// It promises that a port that is taken is an error before anything is started, that an
// agent that stops loses no request, and that nothing is left behind: no listener, no
// goroutine, no registration. It decides nothing: what scales, routes and admits is in the
// packages that it wires. It knows no flags and no signals.
package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"io"
	"net"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/authz"
	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/agent/doctor"
	"github.com/wadi-run/wadi/agent/membership"
	"github.com/wadi-run/wadi/internal/registry"
	"github.com/wadi-run/wadi/internal/telemetry"
	"github.com/wadi-run/wadi/proxy/activator"
	"github.com/wadi-run/wadi/proxy/admin"
	"github.com/wadi-run/wadi/proxy/gateway"
)

// Deps is what an agent needs besides its configuration.
type Deps struct {
	Log       hclog.Logger // Nil: nothing is logged.
	AccessLog io.Writer    // Nil: there is none, whatever the configuration says.
	Version   string       // Of this build.

	// Load reads the configuration again; nil: it can't be reloaded.
	Load func() (config.Config, []wadi.Problem)
	// LogJSON changes the format of Log; nil: it can't be changed.
	LogJSON func(bool)
}

// Agent is one agent. Make it with New, then call Run or Close, once.
type Agent struct {
	cfg    config.Config                 // At the start. A reload changes inForce.
	live   atomic.Pointer[config.Config] // See inForce.
	deps   Deps
	log    hclog.Logger
	reg    *prometheus.Registry
	boot   string // Different in each run.
	opened *stack // What New opened and Run started.

	clients
	journal

	guard        *authz.Guard
	members      *membership.Members
	leadership   *leadership
	routing      *routing
	installation *installation
	advertised   *advertised
	startup      *startup
	health       *health
	doctor       *doctor.Doctor

	registries *registry.Resolver // Of the images of services.

	telemetry *telemetry.Telemetry
	control   *control.Live // Settings of the leader's loops.
	domains   *domains      // Nil: agents obtain no certificates.
	activator *activator.Activator
	gateway   *gateway.Gateway
	front     *front
	api       *apiPlane
	webhooks  *webhooks
	metrics   *metricsPlane
	assets    *assetPlane // Nil: agents serve no programs.

	drainer *drainer
	reloads *reloads
}

// journal is what outlives a term: the records of what the leader and the waker did.
type journal struct {
	events    *control.Events
	decisions *control.History
	owned     *control.Owned
	actions   *control.Metrics
}

// New opens an agent's listeners and wires its parts; nothing runs before Run. On an error
// nothing is left open.
func New(ctx context.Context, cfg config.Config, deps Deps) (_ *Agent, err error) {
	if deps.Log == nil {
		deps.Log = hclog.NewNullLogger()
	}
	a := &Agent{
		cfg: cfg, deps: deps, log: deps.Log, reg: prometheus.NewRegistry(), boot: bootID(), opened: &stack{log: deps.Log},
		routing: newRouting(), startup: newStartup(deps.Log), advertised: &advertised{},
		journal: journal{events: &control.Events{}, decisions: &control.History{}, owned: &control.Owned{}},
	}
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	a.live.Store(&cfg)
	a.control = control.NewLive(controlSettings(cfg))
	a.events.Begin(nil) // Until this agent leads it has none to show.
	a.advertised.set(cfg.Advertise)
	a.members = membership.New(membership.Self{Name: cfg.Name, Boot: a.boot, Prefix: cfg.Consul.Prefix}, a.log)
	a.reg.MustRegister(admin.Runtime()...)
	a.actions = control.NewMetrics(a.reg)
	a.reloads = newReloads(a.reg)
	a.reloads.files = sumFiles(cfg)
	for _, open := range []func(context.Context) error{
		a.openTelemetry, a.openClients, a.openDomains, a.openDataPlane, a.openFront, a.openAssets, a.openDoctor, a.openAPI, a.openMetrics,
	} {
		if err := open(ctx); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// Close closes what New opened, of an agent that was not run.
func (a *Agent) Close() { a.opened.stopAbove("") }

// APIAddr is the address of the API's listener.
func (a *Agent) APIAddr() net.Addr { return a.api.listener.Addr() }

// MetricsAddr is the address of the listener of metrics, readiness and statistics.
func (a *Agent) MetricsAddr() net.Addr { return a.metrics.listener.Addr() }

// GatewayAddr is the address of the gateway's listener without TLS.
func (a *Agent) GatewayAddr() net.Addr { return a.front.gateway.Addr() }

// MeshAddr is the address of the listener that callers in the mesh reach.
func (a *Agent) MeshAddr() net.Addr { return a.front.mesh.Addr() }

// bootID returns an ID that no other run of an agent has.
func bootID() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // It does not fail.
	return hex.EncodeToString(b)
}
