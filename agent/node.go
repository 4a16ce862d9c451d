package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission"
	"github.com/wadi-run/wadi/agent/authz"
	"github.com/wadi-run/wadi/agent/config"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/agent/doctor"
	"github.com/wadi-run/wadi/agent/membership"
	"github.com/wadi-run/wadi/agent/server"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/mesh"
	"github.com/wadi-run/wadi/internal/nomad"
	"github.com/wadi-run/wadi/internal/store"
	"github.com/wadi-run/wadi/internal/telemetry"
	"github.com/wadi-run/wadi/jobspecs"
	"github.com/wadi-run/wadi/proxy"
	"github.com/wadi-run/wadi/proxy/activator"
	"github.com/wadi-run/wadi/proxy/connlimit"
	"github.com/wadi-run/wadi/proxy/deadline"
	"github.com/wadi-run/wadi/proxy/drain"
	"github.com/wadi-run/wadi/proxy/gateway"
	"github.com/wadi-run/wadi/proxy/stats"
)

// Agent is all parts of an agent, wired. New opens every listener, so that a
// port that is taken is an error before anything else happens.
type Agent struct {
	cfg  config.Config
	deps Deps
	log  hclog.Logger
	reg  *prometheus.Registry
	boot string

	consul  *consul.Client
	nomad   *nomad.Client
	watcher *nomad.Watcher
	store   *store.Store
	mesh    *mesh.Source
	guard   *authz.Guard

	activator *activator.Activator
	gateway   *gateway.Gateway
	events    *control.Events
	decisions *control.Decisions
	owned     control.Owned
	metrics   *control.Metrics
	telemetry *telemetry.Telemetry

	apiServer     *server.Server
	peerAPI       http.Handler // The part of it that is for other agents.
	apiListener   net.Listener
	metricsServer *http.Server
	metricsLn     net.Listener
	gatewayServer *gateway.Server
	certs         *gateway.Certificates // Of the next one; nil without it.
	tlsServer     *gateway.Server       // The gateway over TLS; nil: there is none.
	meshServer    *gateway.Server

	doctor *doctor.Doctor

	drain   *drain.Drain
	drained chan struct{} // Closed when the drain is over.

	routedOnce sync.Once
	routed     chan struct{} // Closed when the routes are known.

	advertise atomic.Pointer[string] // Where others reach this agent, once it is known.
	routes    atomic.Pointer[map[string]wadi.Route]
	members   *membership.Members
	waits     atomic.Pointer[string] // What the start waits for; nil: nothing.
	leader    atomic.Pointer[leaderInfo]
	term      atomic.Pointer[prometheus.Registry] // Of what only the leader measures; nil: another leads.

	installation atomic.Pointer[string] // What tells this installation's jobs from others'; empty while it is not known.
}

// Deps is what an agent needs besides its configuration.
type Deps struct {
	Log       hclog.Logger
	AccessLog io.Writer // Unused unless the configuration turns the access log on.
	Version   string    // Of this build.
}

// New opens an agent's listeners and wires its parts; Run starts them. On an error
// nothing is left open.
func New(ctx context.Context, cfg config.Config, deps Deps) (_ *Agent, err error) {
	a := &Agent{
		cfg: cfg, deps: deps, log: deps.Log, reg: prometheus.NewRegistry(), boot: bootID(),
		events: &control.Events{}, decisions: &control.Decisions{}, drain: drain.New(), drained: make(chan struct{}), routed: make(chan struct{}),
	}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	a.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	a.metrics = control.NewMetrics(a.reg)
	if err = a.wireTelemetry(deps.AccessLog); err != nil {
		return nil, err
	}
	a.advertise.Store(&cfg.Advertise)
	a.installation.Store(new(string))
	a.routes.Store(&map[string]wadi.Route{})
	a.members = membership.New(membership.Self{Name: cfg.Name, Boot: a.boot, Prefix: cfg.Consul.Prefix}, a.log)
	starting := "starting"
	a.waits.Store(&starting)
	a.leader.Store(&leaderInfo{})
	for _, step := range []func(context.Context) error{
		a.wireBackends, a.wireDataPlane, a.wireDoctor, a.wireAPI, a.wireMetrics,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// bootID tells this run of the agent from others.
func bootID() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // It does not fail.
	return hex.EncodeToString(b)
}

func (a *Agent) wireBackends(context.Context) (err error) {
	c := a.cfg
	a.consul, err = consul.New(consul.Config{
		Address: c.Consul.Address, Token: c.Consul.Token, CAFile: c.Consul.TLS.CAFile,
		CertFile: c.Consul.TLS.CertFile, KeyFile: c.Consul.TLS.KeyFile, SkipVerify: c.Consul.TLS.SkipVerify,
	})
	if err != nil {
		return err
	}
	a.nomad, err = nomad.New(nomad.Config{
		Address: c.Nomad.Address, Token: c.Nomad.Token, Region: c.Nomad.Region,
		CAFile: c.Nomad.TLS.CAFile, CertFile: c.Nomad.TLS.CertFile, KeyFile: c.Nomad.TLS.KeyFile,
		SkipVerify: c.Nomad.TLS.SkipVerify,
	})
	if err != nil {
		return err
	}
	a.store = store.New(a.consul, c.Consul.Prefix, c.Name, a.log.Named("store"))
	a.mesh = &mesh.Source{API: a.consul.API(), Services: wadi.Activators(), Log: a.log.Named("mesh")}
	a.guard = authz.New(a.consul, func() map[string]wadi.Route { return *a.routes.Load() }, a.log.Named("intentions"))
	a.watcher = &nomad.Watcher{Client: a.nomad, Log: a.log.Named("nomad"), Namespaces: a.namespaces, Reread: a.reread}
	return nil
}

// namespaceOf says in which Nomad namespace a revision's job is.
func (a *Agent) namespaceOf(revision string) (string, bool) {
	service, _, _ := wadi.SplitRevisionID(revision)
	r, ok := a.route(service)
	if _, known := r.Revisions[revision]; !ok || !known {
		return "", false
	}
	return r.Namespace, true
}

// reread takes in what a full read says of a job.
func (a *Agent) reread(namespace, revision string, index uint64) {
	if own, ok := a.namespaceOf(revision); ok && own == namespace {
		a.owned.Reread(revision, index)
	}
}

// namespaces are the Nomad namespaces that services are in, once the routes are known.
func (a *Agent) namespaces() (all []string, known bool) {
	select {
	case <-a.routed:
	default:
		return nil, false
	}
	seen := map[string]bool{}
	for _, r := range *a.routes.Load() {
		if !seen[r.Namespace] {
			seen[r.Namespace] = true
			all = append(all, r.Namespace)
		}
	}
	return all, true
}

func (a *Agent) route(service string) (wadi.Route, bool) {
	r, ok := (*a.routes.Load())[service]
	return r, ok
}

func (a *Agent) wireDataPlane(ctx context.Context) (err error) {
	c := a.cfg
	cluster := loopCluster{a.watcher}
	routed := routedCluster{cluster, a.namespaceOf}
	a.activator, err = activator.New(activator.Config{
		Name: c.Name, Boot: a.boot, Endpoints: routed, Diagnoses: routed,
		Waker: &control.Waker{
			Jobs: loopNomad{a.nomad}, Purger: loopNomad{a.nomad}, Cluster: cluster, Store: a.store, Route: a.route,
			Events: a.events, Owned: &a.owned, Log: a.log.Named("waker"),
		},
		Dialer:     &instances{mesh: a.mesh, route: a.route},
		MaxWaiting: c.Activator.MaxWaiting, MaxWaitingBytes: c.Activator.MaxWaitingBytes,
		MaxWakes: float64(c.Activator.MaxWakes), RequestRecords: a.telemetry.On(),
		Guard: a.guard, Peer: func(r *http.Request) string { return a.gateway.Caller(r) },
		Log: a.log.Named("activator"), Registerer: a.reg,
	})
	if err != nil {
		return err
	}
	a.gateway, err = gateway.New(gateway.Config{
		Domain: c.Gateway.Domain, Activator: a.activator, Registerer: a.reg, TrustedProxies: c.Gateway.TrustedProxies,
		Authorize: a.guard.Authorize,
	})
	if err != nil {
		return err
	}
	if err = a.wireGateway(ctx); err != nil {
		return err
	}
	a.meshServer, err = gateway.NewServer(ctx, gateway.ServerConfig{
		Address: c.Activator.Address, Handler: a.peers(a.front("mesh", a.activator.MeshHandler(a.guard))), TLS: a.mesh.ServerConfig(),
		Malformed: a.gateway.Malformed("mesh"), Log: a.log.Named("mesh"),
		Bounds: gateway.Bounds{IdleTimeout: proxy.EnvoysIdleTimeout},
	})
	if err != nil {
		return portError("activator.address", c.Activator.Address, err)
	}
	return nil
}

// portError says which setting names a port that can't be had.
func portError(setting, address string, err error) error {
	return fmt.Errorf("listen on %s (%s): %w; another agent, or another program, may have that port", address, setting, err)
}

// front is a traffic listener's way to next.
func (a *Agent) front(listener string, next http.Handler) http.Handler {
	return a.telemetry.Handler(listener, a.leaving(a.onceStarted(next)))
}

func (a *Agent) wireTelemetry(access io.Writer) (err error) {
	c := a.cfg.Telemetry
	if !c.AccessLog {
		access = nil
	}
	a.telemetry, err = telemetry.New(telemetry.Config{
		Name: a.cfg.Name, Version: a.deps.Version, AccessLog: access, Endpoint: c.OTLPEndpoint,
		Log: a.log.Named("telemetry"), Registerer: a.reg,
	})
	return err
}

// onceStarted answers 503 while routes and instances are not known yet: a 404
// would be wrong.
func (a *Agent) onceStarted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if why := a.waits.Load(); why != nil { // Which names addresses: it is for the log, and wadi doctor.
			activator.Refuse(w, r, activator.Refusal{Status: http.StatusServiceUnavailable, Code: "starting",
				RetryAfter: time.Second, Message: "this Wadi agent starts"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (a *Agent) wireAPI(ctx context.Context) error {
	c := a.cfg
	adm, err := admission.New(admission.Config{
		Store: a.store, Nomad: apiNomad{a.nomad}, Catalog: catalog{a.consul},
		Intentions: a.consul, AllowIntentions: c.Consul.AllowIntentions,
		Defaults: c.Defaults, Limits: c.Limits, MaxBytes: c.Limits.MaxSpecBytes, GatewayDomain: c.Gateway.Domain,
		Agent: jobspecs.Agent{
			QueueProxyTask: c.QueueProxyTask, SidecarTask: c.SidecarTask, GatewayURL: a.gatewayURL(""), AccessLog: c.Telemetry.AccessLog, Shield: c.Mesh.Shield,
		},
		Installation: func() string { return *a.installation.Load() },
		Log:          a.log.Named("admission"),
	})
	if err != nil {
		return err
	}
	limiter := connlimit.New(maxAPIConns, nil)
	a.apiServer, err = server.New(server.Config{
		Self: api.Self{
			Name: c.Name, Version: a.deps.Version, API: c.HTTP.Address,
			Gateway: a.gatewayServer.Addr().String(), GatewayTLS: a.tlsAddress(), GatewayDomain: c.Gateway.Domain, Metrics: c.Metrics.Address,
		},
		Auth: string(c.HTTP.Auth), Admission: adm, Store: a.store, Rights: apiNomad{a.nomad},
		Decisions: a.decisions, Events: a.events, Leadership: a, LeaderURL: a.wayToLeader, Transport: a.peerTransport(), Problems: a.problems, Warnings: a.doctor.Warnings, Doctor: a.doctor.Reports, Admin: a.admin(), MayAdmin: a.nomad.MayAdminister,
		MaxSpecBytes: c.Limits.MaxSpecBytes, MaxInstances: c.Limits.MaxInstances, Log: a.log.Named("api"), Registerer: a.reg,
		ConnState: limiter.ConnState,
	})
	if err != nil {
		return err
	}
	a.peerAPI = a.apiServer.Peers(a.drain.Begun())
	a.apiListener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", c.HTTP.Address)
	if err != nil {
		return portError("http.address", c.HTTP.Address, err)
	}
	a.apiListener = limiter.Listener(a.apiListener)
	return nil
}

// Open connections of the listeners that are for people and monitoring. Idle ones make
// room for new ones.
const (
	maxAPIConns     = 1024
	maxMetricsConns = 256
)

func (a *Agent) wireMetrics(ctx context.Context) (err error) {
	mux := http.NewServeMux()
	all := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		g := prometheus.Gatherers{a.reg}
		if term := a.term.Load(); term != nil {
			g = append(g, term)
		}
		return g.Gather()
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(all, promhttp.HandlerOpts{Registry: a.reg}))
	mux.Handle("GET /v1/stats", a.activator.StatsHandler())
	mux.Handle("GET "+doctor.Path, a.doctor)
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if p := a.problems(); len(p) > 0 {
			http.Error(w, p[0], http.StatusServiceUnavailable)
		}
	})
	limiter := connlimit.New(maxMetricsConns, nil)
	a.metricsServer = &http.Server{
		Handler: bodiless(mux), ConnState: limiter.ConnState, WriteTimeout: stats.MaxWait + 30*time.Second, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: a.log.Named("metrics").StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	a.metricsLn, err = (&net.ListenConfig{}).Listen(ctx, "tcp", a.cfg.Metrics.Address)
	if err != nil {
		return portError("metrics.address", a.cfg.Metrics.Address, err)
	}
	a.metricsLn = limiter.Listener(a.metricsLn)
	return nil
}

// bodiless is next, which reads no bodies: a connection on which one is announced waits
// for it no longer than a moment.
func bodiless(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody {
			deadline.EndUnread(w, r)
		}
		next.ServeHTTP(w, r)
	})
}

// close closes what New opened, for an agent that does not run.
func (a *Agent) close() {
	for _, l := range []net.Listener{a.apiListener, a.metricsLn} {
		if l != nil {
			_ = l.Close()
		}
	}
	for _, s := range []*gateway.Server{a.gatewayServer, a.tlsServer, a.meshServer} {
		if s != nil {
			_ = s.Close()
		}
	}
}
