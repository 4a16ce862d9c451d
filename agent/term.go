package agent

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/authz"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/agent/loads"
	"github.com/wadi-run/wadi/agent/measure"
	"github.com/wadi-run/wadi/agent/membership"
	"github.com/wadi-run/wadi/agent/network"
	"github.com/wadi-run/wadi/agent/network/mesh"
	"github.com/wadi-run/wadi/agent/network/table"
	"github.com/wadi-run/wadi/agent/outcomes"
	"github.com/wadi-run/wadi/internal/acme"
	"github.com/wadi-run/wadi/internal/consul"
	"github.com/wadi-run/wadi/internal/nomad"
	"github.com/wadi-run/wadi/internal/store"
	"github.com/wadi-run/wadi/proxy/activator"
	"github.com/wadi-run/wadi/proxy/gateway"
)

// terms makes the parts of each term.
type terms struct {
	clients
	journal
	control *control.Live
	log     hclog.Logger

	guard        *authz.Guard
	members      *membership.Members
	leadership   *leadership
	routing      *routing
	installation *installation
	activator    *activator.Activator
	gateway      *gateway.Gateway
	domains      *domains                  // Nil: agents obtain no certificates.
	sources      func() []control.Source   // Of statistics: all agents.
	url          func(wadi.Service) string // Empty if the service is not public.
}

func (a *Agent) terms() *terms {
	return &terms{
		clients: a.clients, journal: a.journal, control: a.control, log: a.log,
		guard: a.guard, members: a.members, leadership: a.leadership, routing: a.routing, installation: a.installation,
		activator: a.activator, gateway: a.gateway, domains: a.domains, sources: a.statisticsSources, url: a.urlOf,
	}
}

// term is the parts of one term of leadership. They are new in each term, so that nothing
// that an earlier term knew is believed.
type term struct {
	*terms
	lease    leadershipProof
	metrics  *prometheus.Registry // Ends with the term.
	writer   *store.Writer        // The controller's. Writes while the lock is held.
	jobs     leaderNomad
	cluster  controlCluster
	meter    *measure.Meter
	outcomes *outcomes.Keeper
	nodes    *nomad.Nodes
	edits    *mesh.Watcher

	controller *control.Controller
	autoscaler *control.Autoscaler
	sweeper    *control.Sweeper
	prefetcher *control.Prefetcher
	keeper     *control.EventKeeper
	loads      *loads.Recorder
	orderer    *acme.Orderer // Nil: agents obtain no certificates.
}

// lead leads until the term ends, or a part of it fails.
func (ts *terms) lead(ctx context.Context, lock *consul.Term) error {
	t := ts.newTerm(lock)
	ts.events.Begin(t.namespaceOf)
	defer ts.events.Begin(nil) // They are another's then.
	ts.leadership.term.Store(t.metrics)
	defer ts.leadership.term.Store(nil)
	ts.leadership.loads.Store(t.loads)
	defer ts.leadership.loads.Store(nil)
	ts.leadership.outcomes.Store(t.outcomes)
	defer ts.leadership.outcomes.Store(nil)
	defer ts.decisions.Clear()
	ts.actions.SetLeading(true)
	defer ts.actions.SetLeading(false)
	return t.run(ctx)
}

func (ts *terms) newTerm(lock *consul.Term) *term {
	cluster := controlCluster{ts.watcher}
	t := &term{
		terms: ts, lease: lock, metrics: prometheus.NewRegistry(), writer: ts.store.Writer(lock.Lock),
		jobs: leaderNomad{controlNomad{ts.nomad}, lock, cluster}, cluster: cluster, autoscaler: control.NewAutoscaler(),
	}
	t.metrics.MustRegister(ts.decisions)
	t.meter = measure.New(ts.nomad, ts.log, t.metrics)
	t.meter.Backlog = ts.activator.Backlog()
	t.keepOutcomes()
	t.nodes = &nomad.Nodes{Client: ts.nomad, Log: ts.log.Named("nomad"), Changed: t.autoscaler.Poke}
	t.controller = t.newController()
	t.wireAutoscaler()
	t.prefetcher = t.newPrefetcher()
	t.controller.Prefetches = t.prefetcher
	t.sweeper = t.newSweeper(ts.store.Writer(lock.Lock))
	t.keeper = &control.EventKeeper{Events: t.events, Stored: ts.store.Writer(lock.Lock).EventLog(), Log: t.log.Named("events")}
	t.loads = &loads.Recorder{Services: t.loadedServices, Meter: t.meter, Store: t.writer, Log: ts.log.Named("loads")}
	if ts.domains != nil {
		t.orderer = ts.domains.newOrderer(ts.store.Writer(lock.Lock), t.tell)
		t.controller.Observers.Domains = t.orderer
	}
	return t
}

// keepOutcomes has the meter's sources report how requests were answered.
func (t *term) keepOutcomes() {
	t.outcomes = outcomes.New(time.Now())
	t.outcomes.Silent = t.meter.Silent
	t.meter.Outcomes = t.outcomes
	t.meter.Running = func(byRevision map[string]int) { t.outcomes.Set(byRevision, time.Now()) }
}

// newController returns the controller, and sets the watcher of edits that it listens to.
func (t *term) newController() *control.Controller {
	entries := &mesh.Layer{Entries: leaderEntries{t.consul, t.lease}, Log: t.log.Named("network")}
	t.edits = &mesh.Watcher{Source: t.consul, Layer: entries, Log: t.log.Named("network")}
	return &control.Controller{
		Jobs: t.jobs, Plans: t.jobs, Cluster: t.cluster, ClusterNews: t.cluster,
		Store: t.writer, State: t.writer, Remover: t.writer,
		Network: network.Layers{entries, &table.Layer{Gateway: t.gateway}}, Edits: t.edits,
		Meter: t.meter, Agents: t.sources,
		Observers: control.Observers{Callers: t.guard, Usage: t.meter, Instances: t.meter, Exposure: t.meter, Exits: t.watcher, Outcomes: termOutcomes{t.outcomes}},
		Events:    t.events, Owned: t.owned, URL: t.url, Memory: t.autoscaler.Memory, Acted: t.autoscaler.Poke,
		Settings: t.control,
		Log:      t.log.Named("controller"), Metrics: t.actions,
	}
}

func (t *term) wireAutoscaler() {
	s := t.autoscaler
	s.Counts, s.Cluster, s.Loads = t.jobs, t.cluster, t.meter
	s.Orders, s.Nodes = leaderOrders{t.activator, t.lease}, t.nodes
	s.Services, s.Wakeable = t.controller.Services, t.wakeable
	s.Warming = t.controller.Warming
	s.Wakes, s.Backlog = t.activator, t.activator.Backlog()
	s.Settings, s.History, s.Events = t.control, t.decisions, t.events
	s.Owned, s.Log, s.Metrics = t.owned, t.log.Named("autoscaler"), t.actions
}

// namespaceOf returns the namespace of a service; empty: it is not known.
func (t *term) namespaceOf(service string) string {
	if v := t.controller.Services(); v != nil && v.Services[service] != nil {
		return v.Services[service].Service.Namespace
	}
	route, _ := t.routing.route(service)
	return route.Namespace
}

// wakeable reports whether a request would wake a service from zero, and why not.
func (t *term) wakeable(service string) (bool, string) {
	route, _ := t.routing.route(service)
	if ok, why := t.members.Wakeable(route); !ok {
		return false, why
	}
	return t.controller.Wakeable(service)
}

// loadedServices are the services whose load is kept.
func (t *term) loadedServices() []loads.Service {
	view := t.controller.Services()
	if view == nil {
		return nil
	}
	all := make([]loads.Service, 0, len(view.Services))
	for name, s := range view.Services {
		if s.Deleting {
			continue
		}
		of := loads.Service{Name: name}
		for _, r := range s.Revisions {
			of.Revisions = append(of.Revisions, r.ID)
		}
		all = append(all, of)
	}
	return all
}

// newSweeper returns the sweeper. It has a writer of its own to read with: what it reads must
// not count as read by the controller, whose writes are check-and-set against that.
func (t *term) newSweeper(own *store.Writer) *control.Sweeper {
	return &control.Sweeper{
		List: ownedJobs{t.nomad, t.installation}.list, Services: t.controller.Services, Store: own, Jobs: t.jobs,
		Events: t.events, Log: t.log.Named("sweeper"),
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
	g.run("prefetcher", t.prefetcher.Run)
	g.run("events", t.keeper.Run)
	g.run("loads", t.loads.Run)
	if t.orderer != nil {
		g.run("certificates", t.orderCertificates)
	}
	<-g.ctx.Done()
	g.stop()
	return firstError(g)
}
