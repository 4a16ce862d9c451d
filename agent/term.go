package agent

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/agent/measure"
	"github.com/wadi-run/wadi/agent/network"
	"github.com/wadi-run/wadi/agent/network/mesh"
	"github.com/wadi-run/wadi/agent/network/table"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/nomad"
	"github.com/wadi-run/wadi/internal/store"
	"github.com/wadi-run/wadi/scheduler"
)

// term is the parts of one term of leadership. They are new in each term, so that nothing
// that an earlier term knew is believed.
type term struct {
	agent   *Agent
	lease   leadershipProof
	metrics *prometheus.Registry // Ends with the term.
	writer  *store.Writer        // Writes while the lock is held.
	nomad   leaderNomad
	cluster controlCluster
	meter   *measure.Meter
	nodes   *nomad.Nodes
	edits   *mesh.Watcher

	controller *control.Controller
	autoscaler *control.Autoscaler
	sweeper    *control.Sweeper
}

// lead leads until the term ends, or a part of it fails.
func (a *Agent) lead(ctx context.Context, lock *consul.Term) error {
	t := a.newTerm(lock)
	a.leadership.term.Store(t.metrics)
	defer a.leadership.term.Store(nil)
	defer a.decisions.Clear()
	a.controlMetrics.SetLeading(true)
	defer a.controlMetrics.SetLeading(false)
	return t.run(ctx)
}

func (a *Agent) newTerm(lock *consul.Term) *term {
	t := &term{
		agent: a, lease: lock, metrics: prometheus.NewRegistry(), writer: a.store.Writer(lock.Lock),
		nomad: leaderNomad{controlNomad{a.nomad}, lock}, cluster: controlCluster{a.watcher}, autoscaler: control.NewAutoscaler(),
	}
	t.metrics.MustRegister(a.decisions)
	t.meter = measure.New(a.nomad, a.log, t.metrics)
	t.meter.Backlog = a.activator.Backlog()
	t.nodes = &nomad.Nodes{Client: a.nomad, Log: a.log.Named("nomad"), Changed: t.autoscaler.Poke}
	t.controller = t.newController()
	t.wireAutoscaler()
	t.sweeper = t.newSweeper()
	return t
}

// newController returns the controller, and sets the watcher of edits that it listens to.
func (t *term) newController() *control.Controller {
	a := t.agent
	entries := &mesh.Layer{Entries: leaderEntries{a.consul, t.lease}, Log: a.log.Named("network")}
	t.edits = &mesh.Watcher{Source: a.consul, Layer: entries, Log: a.log.Named("network")}
	return &control.Controller{
		Jobs: t.nomad, Plans: t.nomad, Cluster: t.cluster, ClusterNews: t.cluster,
		Store: t.writer, State: t.writer, Remover: t.writer,
		Network: network.Layers{entries, &table.Layer{Gateway: a.gateway}}, Edits: t.edits,
		Meter: t.meter, Agents: a.statisticsSources,
		Observers: control.Observers{Callers: a.guard, Usage: t.meter, Instances: t.meter, Exposure: t.meter, Exits: a.watcher},
		Events:    a.events, Owned: &a.owned, URL: a.urlOf, Memory: t.autoscaler.Memory, Acted: t.autoscaler.Poke,
		Retention: scheduler.Retention{
			KeepFor: a.cfg.Retention.KeepFor, KeepActiveFor: a.cfg.Retention.KeepActiveFor, Max: a.cfg.Retention.Max,
		},
		Log: a.log.Named("controller"), Metrics: a.controlMetrics,
	}
}

func (t *term) wireAutoscaler() {
	a, s := t.agent, t.autoscaler
	s.Counts, s.Cluster, s.Loads = t.nomad, t.cluster, t.meter
	s.Orders, s.Nodes = leaderOrders{a.activator, t.lease}, t.nodes
	s.Services, s.Wakeable = t.controller.Services, t.wakeable
	s.Wakes, s.Backlog = a.activator, a.activator.Backlog()
	s.Ceiling, s.History, s.Events = a.cfg.Limits.MaxInstances, a.decisions, a.events
	s.Owned, s.Log, s.Metrics = &a.owned, a.log.Named("autoscaler"), a.controlMetrics
}

// wakeable reports whether a request would wake a service from zero, and why not.
func (t *term) wakeable(service string) (bool, string) {
	route, _ := t.agent.routing.route(service)
	if ok, why := t.agent.members.Wakeable(route); !ok {
		return false, why
	}
	return t.controller.Wakeable(service)
}

func (t *term) newSweeper() *control.Sweeper {
	a := t.agent
	return &control.Sweeper{
		List: ownedJobs{a.nomad, a.installation}.list, Services: t.controller.Services, Store: t.writer, Jobs: t.nomad,
		Events: a.events, Log: a.log.Named("sweeper"),
	}
}

func (t *term) run(ctx context.Context) error {
	g := newGroup(ctx)
	g.run("meter", t.meter.Run)
	g.run("edits", t.edits.Run)
	g.run("controller", t.controller.Run)
	g.run("autoscaler", t.autoscaler.Run)
	g.run("nodes", t.nodes.Run)
	g.run("sweeper", t.sweeper.Run)
	<-g.ctx.Done()
	g.stop()
	return firstError(g)
}

// statisticsSources lists all agents as sources of statistics: this one, whether Consul
// lists it or not, and those that there were lately.
func (a *Agent) statisticsSources() []control.Source {
	return a.members.Sources(a.advertised.reach(a.MetricsAddr()), time.Now())
}

// urlOf returns the URL of a service; empty if it is not public.
func (a *Agent) urlOf(s wadi.Service) string {
	if s.Visibility != wadi.Public {
		return ""
	}
	return a.front.url(s.Name)
}
