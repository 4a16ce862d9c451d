//go:build linux

package main

import (
	"context"
	"encoding/json"
	"net/url"
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
	"github.com/wadi-run/wadi/scheduler"
)

// leaderInfo is what the lock says of its holder.
type leaderInfo struct {
	Name    string `json:"name"`
	URL     string `json:"url"`
	Mesh    string `json:"mesh,omitempty"`    // host:port of its mesh listener.
	Machine string `json:"machine,omitempty"` // See machineID.
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
func (n *node) lead(ctx context.Context, term *consul.Term) error {
	n.log.Info("leading")
	defer n.log.Info("no longer leading")
	reg := prometheus.NewRegistry() // Gone with the term.
	n.term.Store(reg)
	defer n.term.Store(nil)
	reg.MustRegister(n.decisions)
	defer n.decisions.Clear()
	meter := measure.New(n.nomad, n.log, reg)
	writer := loopStore{n.store.Writer(term.Lock)}
	asLeader := leaderNomad{loopNomad{n.nomad}, term}
	scaler := control.NewAutoscaler()
	entries := &mesh.Layer{Entries: leaderEntries{n.consul, term}, Log: n.log.Named("network")}
	edits := &mesh.Watcher{Source: n.consul, Layer: entries, Log: n.log.Named("network")}
	ctl := &control.Controller{
		Nomad: asLeader, Cluster: loopCluster{n.watcher}, Store: writer,
		Network: network.Layers{entries, &table.Layer{Gateway: n.gateway}},
		Edits:   edits,
		Measure: meter, Agents: n.activators, Events: n.events, Owned: &n.owned, URL: n.urlOf,
		Callers: n.guard, Unread: meter.Unread, Unready: meter.Unready, Exits: n.watcher.Exits, Drains: meter.Draining, Wide: meter.Wide, Unshielded: meter.Unshielded,
		Ages: scheduler.Retention{
			KeepFor: n.cfg.Retention.KeepFor, KeepActiveFor: n.cfg.Retention.KeepActiveFor, Max: n.cfg.Retention.Max,
		},
		Done: scaler.Poke, Log: n.log.Named("controller"), Metrics: n.metrics,
	}
	meter.Backlog = n.activator.Backlog()
	scaler.Nomad, scaler.Cluster, scaler.Measure = asLeader, loopCluster{n.watcher}, meter
	nodes := &nomad.Nodes{Client: n.nomad, Log: n.log.Named("nomad"), Changed: scaler.Poke}
	scaler.Orders, scaler.Draining = leaderOrders{n.activator, term}, nodes.Draining
	scaler.Services, scaler.Remember = ctl.Services, ctl.Remember
	scaler.WayBack = func(service string) (bool, string) {
		route, _ := n.route(service)
		if ok, why := wayBack(route, n.healthy.all()); !ok {
			return false, why + n.whyUnlisted()
		}
		return ctl.WayBack(service)
	}
	scaler.Waking = n.activator.Waking
	scaler.Backlog = n.activator.Backlog()
	scaler.Ceiling, scaler.Decisions, scaler.Events = n.cfg.Limits.MaxInstances, n.decisions, n.events
	scaler.Owned, scaler.Log, scaler.Metrics = &n.owned, n.log.Named("autoscaler"), n.metrics
	sweeper := n.sweeper(asLeader, loopStore{n.store.Writer(term.Lock)}, ctl.Services)

	n.metrics.SetLeading(true)
	defer n.metrics.SetLeading(false)
	g := newParts(ctx)
	g.run("meter", meter.Run)
	g.run("edits", edits.Run)
	g.run("controller", ctl.Run)
	g.run("autoscaler", scaler.Run)
	g.run("nodes", nodes.Run)
	g.run("sweeper", sweeper.Run)
	<-g.ctx.Done()
	g.stop()
	return firstCause(g)
}

// sweeper stops what is left of services that are gone. Whose jobs those are is asked each
// time: a Consul that has lost everything meanwhile is another installation, and no service
// is stored there yet.
func (n *node) sweeper(as control.Nomad, st loopStore, services func() *control.View) *control.Sweeper {
	list := func(ctx context.Context) ([]scheduler.OwnJob, error) {
		name, err := n.learnInstallation(ctx)
		if err != nil {
			return nil, err
		}
		jobs, err := n.nomad.OwnJobs(ctx, name)
		out := make([]scheduler.OwnJob, 0, len(jobs))
		for _, j := range jobs {
			service, _, _ := wadi.SplitRevisionID(j.ID)
			out = append(out, scheduler.OwnJob{Namespace: j.Namespace, ID: j.ID, Service: service, Index: j.JobModifyIndex})
		}
		return out, err
	}
	return &control.Sweeper{
		List: list, Services: services, Store: st, Nomad: as, Events: n.events, Log: n.log.Named("sweeper"),
	}
}

// activators lists all agents, as sources of statistics: this one, whatever Consul
// says, and those that there were lately.
func (n *node) activators() []control.Source {
	return n.roster.sources(n.reachable(n.metricsLn.Addr()), time.Now())
}

func (n *node) urlOf(s wadi.Service) string {
	if s.Visibility != wadi.Public {
		return ""
	}
	return n.gatewayURL(s.Name)
}
