package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent"
	"github.com/wadi-run/wadi/agent/network"
	"github.com/wadi-run/wadi/agent/network/mesh"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/scrape"
	"github.com/wadi-run/wadi/scheduler"
)

// Bounds of a stop.
const (
	drainTimeout = 30 * time.Second // For requests in flight.
	leaveTimeout = 5 * time.Second  // For deregistering.
)

// parts runs parts of a node. The first that fails ends all.
type parts struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
}

func newParts(ctx context.Context) *parts {
	g := &parts{}
	g.ctx, g.cancel = context.WithCancelCause(ctx)
	return g
}

func (g *parts) run(name string, f func(context.Context) error) {
	g.wg.Go(func() {
		if err := f(g.ctx); err != nil {
			g.cancel(fmt.Errorf("%s: %w", name, err))
		}
	})
}

// stop ends the group's parts and waits for them.
func (g *parts) stop() {
	g.cancel(context.Canceled)
	g.wg.Wait()
}

// run runs the node until ctx ends or a part of it fails. It stops in the order
// in which callers lose nothing: nobody sends more mesh requests, then the
// listeners finish what they have, then the rest goes.
func (n *node) run(ctx context.Context) error {
	core := newParts(context.WithoutCancel(ctx))
	defer core.stop()
	core.run("nomad", n.watcher.Run)
	core.run("routes", func(ctx context.Context) error { return n.store.WatchRoutes(ctx, n.setRoutes) })
	core.run("mesh", n.mesh.Run)
	core.run("activator", n.activator.Run)
	core.run("agents", func(ctx context.Context) error {
		return n.consul.WatchServices(ctx, wadi.ServiceAgent, func(all []consul.Instance) { n.agents.Store(&all) }, n.quiet("agents"))
	})
	core.run("leader", func(ctx context.Context) error {
		return n.consul.WatchLeader(ctx, n.store.LeaderKey(), n.setLeader, n.quiet("leader"))
	})

	front := newParts(core.ctx)
	front.run("api", func(ctx context.Context) error { return n.apiServer.Serve(ctx, n.apiListener) })
	front.run("metrics", n.serveMetrics)
	front.run("gateway", n.gatewayServer.Run)
	front.run("mesh listener", n.meshServer.Run)

	presence := newParts(core.ctx)
	presence.run("start", n.start(presence))

	select {
	case <-ctx.Done():
		n.log.Info("stopping: requests in flight are finished first")
	case <-front.ctx.Done():
	case <-core.ctx.Done():
	case <-presence.ctx.Done():
	}
	presence.stop()
	front.stop()
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	drained := n.activator.Drain(drain)
	core.stop()
	n.nomad.Close()
	if ctx.Err() != nil && drained != nil {
		n.log.Warn("requests were cut off", "error", drained)
	}
	if ctx.Err() != nil {
		return nil
	}
	return firstCause(presence, front, core)
}

func firstCause(groups ...*parts) error {
	for _, g := range groups {
		if err := context.Cause(g.ctx); err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return nil
}

// quiet reports what a watch can't do for now; it goes on by itself.
func (n *node) quiet(what string) func(error) {
	return func(err error) { n.log.Debug("watch failed", "what", what, "error", err) }
}

// start waits until Consul and Nomad answer, saying so, and then registers the
// agent and contends for leadership.
func (n *node) start(g *parts) func(context.Context) error {
	return func(ctx context.Context) error {
		if !n.await(ctx, "Consul", n.cfg.Consul.Address, n.consulReady) ||
			!n.await(ctx, "Nomad", n.cfg.Nomad.Address, n.nomadReady) {
			return nil // Stopped before.
		}
		n.waits.Store(nil)
		self := &consul.Presence{
			Client: n.consul, Log: n.log.Named("consul"),
			Service: consul.AgentRegistration(n.cfg.Name, *n.advertise.Load(), n.port(n.apiListener.Addr()), map[string]string{
				consul.MetaHTTP:    n.reachable(n.apiListener.Addr()),
				consul.MetaMetrics: n.reachable(n.metricsLn.Addr()),
				consul.MetaGateway: n.reachable(n.gatewayServer.Addr()),
				consul.MetaVersion: buildVersion().Version,
			}),
		}
		meshHost, _, _ := net.SplitHostPort(n.reachable(n.meshServer.Addr()))
		activator := &consul.Presence{
			Client: n.consul, Log: n.log.Named("consul"),
			Service: consul.ActivatorRegistration(n.cfg.Name, meshHost, n.port(n.meshServer.Addr())),
		}
		// The lock hangs on the registration, which therefore outlives the election.
		outer := newParts(context.WithoutCancel(ctx))
		outer.run("registration", self.Run)
		g.run("activator registration", func(ctx context.Context) error {
			select {
			case <-n.mesh.Ready(): // Without a certificate it could serve nobody.
				return activator.Run(ctx)
			case <-ctx.Done():
				return nil
			}
		})
		n.log.Info("agent is up", "name", n.cfg.Name, "api", n.apiListener.Addr().String(), "gateway", n.gatewayURL(""), "advertise", *n.advertise.Load())
		value, err := json.Marshal(leaderInfo{Name: n.cfg.Name, URL: "http://" + n.reachable(n.apiListener.Addr())})
		if err != nil {
			return fmt.Errorf("encode leader: %w", err)
		}
		err = self.Elect(ctx, n.store.LeaderKey(), string(value), n.lead)
		outer.stop()
		return err
	}
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
	return n.store.Check(ctx)
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

func (n *node) setRoutes(routes map[string]wadi.Route) {
	n.routes.Store(&routes)
	n.activator.SetRoutes(routes)
	for _, c := range n.gateway.SetRoutes(routes) {
		n.log.Warn("two services claim a host", "host", c.Host, "without", c.Service, "holder", c.Holder)
	}
}

func (n *node) serveMetrics(ctx context.Context) error {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if n.metricsServer.Shutdown(bound) != nil {
			_ = n.metricsServer.Close() // Polls that wait; their readers ask again elsewhere.
		}
	}()
	err := n.metricsServer.Serve(n.metricsLn)
	if errors.Is(err, http.ErrServerClosed) {
		<-stopped
		return nil
	}
	return fmt.Errorf("serve metrics: %w", err)
}

// leaderInfo is what the lock says of its holder.
type leaderInfo struct {
	Name string `json:"name"`
	URL  string `json:"url"`
}

func (n *node) setLeader(value string) {
	var l leaderInfo
	if value != "" {
		if err := json.Unmarshal([]byte(value), &l); err != nil {
			n.log.Warn("the leader's name is not readable", "value", value)
		}
	}
	if l.URL != "" {
		if _, err := url.Parse(l.URL); err != nil {
			l.URL = ""
		}
	}
	n.leader.Store(&l)
}

// Leader implements server.Leadership.
func (n *node) Leader() (name, url string) {
	l := n.leader.Load()
	return l.Name, l.URL
}

// lead is one term: everything in it is new, so that nothing of an earlier one
// is believed.
func (n *node) lead(ctx context.Context) error {
	n.log.Info("leading")
	defer n.log.Info("no longer leading")
	reg := prometheus.NewRegistry() // Gone with the term.
	n.term.Store(reg)
	defer n.term.Store(nil)
	measure := loopMeasure{scrape.New(scheduler.NewWindows, n.log.Named("scrape"), reg)}
	writer := loopStore{n.store.Writer()}
	scaler := agent.NewAutoscaler()
	ctl := &agent.Controller{
		Nomad: loopNomad{n.nomad}, Cluster: loopCluster{n.watcher}, Store: writer,
		Network: network.Layers{&mesh.Layer{Entries: n.consul, Log: n.log.Named("network")}},
		Measure: measure, Agents: n.activators, Events: n.events, Owned: &n.owned, URL: n.urlOf,
		Ages: scheduler.Retention{
			KeepFor: n.cfg.Retention.KeepFor, KeepActiveFor: n.cfg.Retention.KeepActiveFor, Max: n.cfg.Retention.Max,
		},
		Done: scaler.Poke, Log: n.log.Named("controller"), Metrics: n.metrics,
	}
	grown := newGrowth(measure, n.activator)
	scaler.Nomad, scaler.Cluster, scaler.Measure = loopNomad{n.nomad}, loopCluster{n.watcher}, measure
	scaler.Services, scaler.Remember = ctl.Services, ctl.Remember
	scaler.WayBack = func(_ context.Context, s agent.Stored) (bool, string) {
		if len(*n.agents.Load()) == 0 {
			return false, "no agent is registered and healthy in Consul"
		}
		return ctl.WayBack(s.Service.Name)
	}
	scaler.Grown, scaler.TakeGrown = grown.signal, grown.take
	scaler.Ceiling, scaler.Decisions, scaler.Events = n.cfg.Limits.MaxInstances, n.decisions, n.events
	scaler.Owned, scaler.Log, scaler.Metrics = &n.owned, n.log.Named("autoscaler"), n.metrics

	n.metrics.SetLeading(true)
	defer n.metrics.SetLeading(false)
	g := newParts(ctx)
	g.run("scraper", measure.Run)
	g.run("growth", grown.run)
	g.run("controller", ctl.Run)
	g.run("autoscaler", scaler.Run)
	<-g.ctx.Done()
	g.stop()
	return firstCause(g)
}

// activators lists all agents as sources of statistics.
func (n *node) activators() []agent.Source {
	var srcs []agent.Source
	for _, a := range *n.agents.Load() {
		if addr := a.Meta[consul.MetaMetrics]; addr != "" {
			srcs = append(srcs, agent.Source{ID: a.ID, Kind: wadi.SourceActivator, Addr: addr})
		}
	}
	return srcs
}

func (n *node) urlOf(s wadi.Service) string {
	if s.Visibility != wadi.Public {
		return ""
	}
	return n.gatewayURL(s.Name)
}

// growth joins what this agent's own activator says at once with what the others
// say with their statistics.
type growth struct {
	signal chan struct{}
	far    interface {
		Grown() <-chan struct{}
		TakeGrown() []string
	}
	near interface {
		Growth() <-chan struct{}
		Grown() []string
	}
}

func newGrowth(m loopMeasure, a interface {
	Growth() <-chan struct{}
	Grown() []string
}) *growth {
	return &growth{signal: make(chan struct{}, 1), far: m, near: a}
}

func (g *growth) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-g.far.Grown():
		case <-g.near.Growth():
		}
		select {
		case g.signal <- struct{}{}:
		default:
		}
	}
}

func (g *growth) take() []string { return append(g.far.TakeGrown(), g.near.Grown()...) }

// newLogger makes the agent's logger. Level trace to error, as Nomad and Consul.
func newLogger(level string, asJSON bool, out interface{ Write([]byte) (int, error) }) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name: "wadi", Level: hclog.LevelFromString(level), Output: out, JSONFormat: asJSON,
		TimeFormat: "2006-01-02T15:04:05.000Z0700",
	})
}
