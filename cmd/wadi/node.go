//go:build linux

package main

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
	"github.com/wadi-run/wadi/proxy/gateway"
)

// node is one agent: all parts, wired. newNode opens every listener, so that a
// port that is taken is an error before anything else happens.
type node struct {
	cfg  config.Config
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

	reporter reporter

	drain   *proxy.Drain
	drained chan struct{} // Closed when the drain is over.

	routedOnce sync.Once
	routed     chan struct{} // Closed when the routes are known.

	advertise atomic.Pointer[string] // Where others reach this agent, once it is known.
	routes    atomic.Pointer[map[string]wadi.Route]
	agents    atomic.Pointer[[]consul.Instance] // All Wadi agents that are healthy.
	roster    roster                            // All that there were lately.
	healthy   healthy                           // How many of Wadi's own are, by service.
	gone      gone                              // Of them, without a goodbye.
	presence  atomic.Pointer[consul.Presence]   // This one among them; nil before it is registered.
	stranger  atomic.Pointer[string]            // Which agent of another installation is alive; nil or empty: none.
	waits     atomic.Pointer[string]            // What the start waits for; nil: nothing.
	leader    atomic.Pointer[leaderInfo]
	term      atomic.Pointer[prometheus.Registry] // Of what only the leader measures; nil: another leads.

	installation atomic.Pointer[string] // What tells this installation's jobs from others'; empty while it is not known.
}

// newNode wires an agent. On an error nothing is left open.
// Its access log goes to access, if there is to be one.
func newNode(ctx context.Context, cfg config.Config, log hclog.Logger, access io.Writer) (_ *node, err error) {
	n := &node{
		cfg: cfg, log: log, reg: prometheus.NewRegistry(), boot: bootID(),
		events: &control.Events{}, decisions: &control.Decisions{}, drain: proxy.NewDrain(), drained: make(chan struct{}), routed: make(chan struct{}),
	}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	n.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	n.metrics = control.NewMetrics(n.reg)
	if err = n.wireTelemetry(access); err != nil {
		return nil, err
	}
	n.advertise.Store(&cfg.Advertise)
	n.installation.Store(new(string))
	n.routes.Store(&map[string]wadi.Route{})
	n.agents.Store(&[]consul.Instance{})
	n.roster = roster{name: cfg.Name, boot: n.boot}
	starting := "starting"
	n.waits.Store(&starting)
	n.leader.Store(&leaderInfo{})
	for _, step := range []func(context.Context) error{
		n.wireBackends, n.wireDataPlane, n.wireAPI, n.wireMetrics,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// bootID tells this run of the agent from others.
func bootID() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // It does not fail.
	return hex.EncodeToString(b)
}

func (n *node) wireBackends(context.Context) (err error) {
	c := n.cfg
	n.consul, err = consul.New(consul.Config{
		Address: c.Consul.Address, Token: c.Consul.Token, CAFile: c.Consul.TLS.CAFile,
		CertFile: c.Consul.TLS.CertFile, KeyFile: c.Consul.TLS.KeyFile, SkipVerify: c.Consul.TLS.SkipVerify,
	})
	if err != nil {
		return err
	}
	n.nomad, err = nomad.New(nomad.Config{
		Address: c.Nomad.Address, Token: c.Nomad.Token, Region: c.Nomad.Region,
		CAFile: c.Nomad.TLS.CAFile, CertFile: c.Nomad.TLS.CertFile, KeyFile: c.Nomad.TLS.KeyFile,
		SkipVerify: c.Nomad.TLS.SkipVerify,
	})
	if err != nil {
		return err
	}
	n.store = store.New(n.consul, c.Consul.Prefix, c.Name, n.log.Named("store"))
	n.mesh = &mesh.Source{API: n.consul.API(), Services: wadi.Activators(), Log: n.log.Named("mesh")}
	n.guard = authz.New(n.consul, func() map[string]wadi.Route { return *n.routes.Load() }, n.log.Named("intentions"))
	n.watcher = &nomad.Watcher{Client: n.nomad, Log: n.log.Named("nomad"), Namespaces: n.namespaces, Reread: n.reread}
	return nil
}

// namespaceOf says in which Nomad namespace a revision's job is.
func (n *node) namespaceOf(revision string) (string, bool) {
	service, _, _ := wadi.SplitRevisionID(revision)
	r, ok := n.route(service)
	if _, known := r.Revisions[revision]; !ok || !known {
		return "", false
	}
	return r.Namespace, true
}

// reread takes in what a full read says of a job.
func (n *node) reread(namespace, revision string, index uint64) {
	if own, ok := n.namespaceOf(revision); ok && own == namespace {
		n.owned.Reread(revision, index)
	}
}

// namespaces are the Nomad namespaces that services are in, once the routes are known.
func (n *node) namespaces() (all []string, known bool) {
	select {
	case <-n.routed:
	default:
		return nil, false
	}
	seen := map[string]bool{}
	for _, r := range *n.routes.Load() {
		if !seen[r.Namespace] {
			seen[r.Namespace] = true
			all = append(all, r.Namespace)
		}
	}
	return all, true
}

func (n *node) route(service string) (wadi.Route, bool) {
	r, ok := (*n.routes.Load())[service]
	return r, ok
}

func (n *node) wireDataPlane(ctx context.Context) (err error) {
	c := n.cfg
	cluster := loopCluster{n.watcher}
	routed := routedCluster{cluster, n.namespaceOf}
	n.activator, err = activator.New(activator.Config{
		Name: c.Name, Boot: n.boot, Endpoints: routed, Troubles: routed,
		Waker: &control.Waker{
			Nomad: loopNomad{n.nomad}, Cluster: cluster, Store: n.store, Route: n.route,
			Events: n.events, Owned: &n.owned, Log: n.log.Named("waker"),
		},
		Dialer:     &instances{mesh: n.mesh, route: n.route},
		MaxWaiting: c.Activator.MaxWaiting, MaxWaitingBytes: c.Activator.MaxWaitingBytes,
		MaxWakes: float64(c.Activator.MaxWakes), RequestRecords: n.telemetry.On(),
		Guard: n.guard, Peer: func(r *http.Request) string { return n.gateway.Caller(r) },
		Log: n.log.Named("activator"), Registerer: n.reg,
	})
	if err != nil {
		return err
	}
	n.gateway, err = gateway.New(gateway.Config{
		Domain: c.Gateway.Domain, Activator: n.activator, Registerer: n.reg, TrustedProxies: c.Gateway.TrustedProxies,
		Authorize: n.guard.Authorize,
	})
	if err != nil {
		return err
	}
	if err = n.wireGateway(ctx); err != nil {
		return err
	}
	n.meshServer, err = gateway.NewServer(ctx, gateway.ServerConfig{
		Address: c.Activator.Address, Handler: n.peers(n.front("mesh", n.activator.MeshHandler(n.guard))), TLS: n.mesh.ServerConfig(),
		Malformed: n.gateway.Malformed("mesh"), Log: n.log.Named("mesh"),
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
func (n *node) front(listener string, next http.Handler) http.Handler {
	return n.telemetry.Handler(listener, n.leaving(n.onceStarted(next)))
}

func (n *node) wireTelemetry(access io.Writer) (err error) {
	c := n.cfg.Telemetry
	if !c.AccessLog {
		access = nil
	}
	n.telemetry, err = telemetry.New(telemetry.Config{
		Name: n.cfg.Name, Version: buildVersion().Version, AccessLog: access, Endpoint: c.OTLPEndpoint,
		Log: n.log.Named("telemetry"), Registerer: n.reg,
	})
	return err
}

// onceStarted answers 503 while routes and instances are not known yet: a 404
// would be wrong.
func (n *node) onceStarted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if why := n.waits.Load(); why != nil { // Which names addresses: it is for the log, and wadi doctor.
			activator.Refuse(w, r, activator.Refusal{Status: http.StatusServiceUnavailable, Code: "starting",
				RetryAfter: time.Second, Message: "this Wadi agent starts"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (n *node) wireAPI(ctx context.Context) error {
	c := n.cfg
	adm, err := admission.New(admission.Config{
		Store: apiStore{n.store}, Nomad: apiNomad{n.nomad}, Catalog: catalog{n.consul},
		Intentions: n.consul, AllowIntentions: c.Consul.AllowIntentions,
		Defaults: c.Defaults, Limits: c.Limits, MaxBytes: c.Limits.MaxSpecBytes, GatewayDomain: c.Gateway.Domain,
		Agent: jobspecs.Agent{
			QueueProxyTask: c.QueueProxyTask, SidecarTask: c.SidecarTask, GatewayURL: n.gatewayURL(""), AccessLog: c.Telemetry.AccessLog, Shield: c.Mesh.Shield,
		},
		Installation: func() string { return *n.installation.Load() },
		Log:          n.log.Named("admission"),
	})
	if err != nil {
		return err
	}
	limiter := proxy.NewConnLimiter(maxAPIConns, nil)
	n.apiServer, err = server.New(server.Config{
		Self: api.Self{
			Name: c.Name, Version: buildVersion().Version, API: c.HTTP.Address,
			Gateway: n.gatewayServer.Addr().String(), GatewayTLS: n.tlsAddress(), GatewayDomain: c.Gateway.Domain, Metrics: c.Metrics.Address,
		},
		Auth: string(c.HTTP.Auth), Admission: adm, Store: apiStore{n.store}, Rights: apiNomad{n.nomad},
		Decisions: n.decisions, Events: n.events, Leadership: n, Way: n.wayToLeader, Transport: n.peerTransport(), Problems: n.problems, Warnings: n.warnings, Doctor: n.doctor, Admin: n.admin(), MayAdmin: n.nomad.MayAdminister,
		MaxSpecBytes: c.Limits.MaxSpecBytes, MaxInstances: c.Limits.MaxInstances, Log: n.log.Named("api"), Registerer: n.reg,
		ConnState: limiter.ConnState,
	})
	if err != nil {
		return err
	}
	n.peerAPI = n.apiServer.Peers(n.drain.Begun())
	n.apiListener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", c.HTTP.Address)
	if err != nil {
		return portError("http.address", c.HTTP.Address, err)
	}
	n.apiListener = limiter.Listener(n.apiListener)
	return nil
}

// Open connections of the listeners that are for people and monitoring. Idle ones make
// room for new ones.
const (
	maxAPIConns     = 1024
	maxMetricsConns = 256
)

func (n *node) wireMetrics(ctx context.Context) (err error) {
	mux := http.NewServeMux()
	all := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		g := prometheus.Gatherers{n.reg}
		if term := n.term.Load(); term != nil {
			g = append(g, term)
		}
		return g.Gather()
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(all, promhttp.HandlerOpts{Registry: n.reg}))
	mux.Handle("GET /v1/stats", n.activator.StatsHandler())
	mux.HandleFunc("GET "+doctorPath, func(w http.ResponseWriter, r *http.Request) { writeJSON(w, n.report(r.Context())) })
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if p := n.problems(); len(p) > 0 {
			http.Error(w, p[0], http.StatusServiceUnavailable)
		}
	})
	limiter := proxy.NewConnLimiter(maxMetricsConns, nil)
	n.metricsServer = &http.Server{
		Handler: bodiless(mux), ConnState: limiter.ConnState, WriteTimeout: proxy.MaxStatsWait + 30*time.Second, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: n.log.Named("metrics").StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	n.metricsLn, err = (&net.ListenConfig{}).Listen(ctx, "tcp", n.cfg.Metrics.Address)
	if err != nil {
		return portError("metrics.address", n.cfg.Metrics.Address, err)
	}
	n.metricsLn = limiter.Listener(n.metricsLn)
	return nil
}

// bodiless is next, which reads no bodies: a connection on which one is announced waits
// for it no longer than a moment.
func bodiless(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody {
			proxy.EndUnread(w, r)
		}
		next.ServeHTTP(w, r)
	})
}

// close closes what newNode opened, for a node that does not run.
func (n *node) close() {
	for _, l := range []net.Listener{n.apiListener, n.metricsLn} {
		if l != nil {
			_ = l.Close()
		}
	}
	for _, s := range []*gateway.Server{n.gatewayServer, n.tlsServer, n.meshServer} {
		if s != nil {
			_ = s.Close()
		}
	}
}

// problems are what is wrong with this agent now.
func (n *node) problems() []string {
	var p []string
	if why := n.waits.Load(); why != nil {
		p = append(p, *why)
	}
	if why := n.stranger.Load(); why != nil && *why != "" {
		p = append(p, *why)
	}
	if n.drain.HasBegun() {
		p = append(p, "draining: it takes no more requests")
	}
	if leader, _ := n.Leader(); leader == "" && n.waits.Load() == nil {
		p = append(p, "no agent leads: nothing is reconciled or scaled, requests are served and wake")
	}
	if !n.watcher.Up() {
		p = append(p, "Nomad's event stream is away")
	}
	return p
}
