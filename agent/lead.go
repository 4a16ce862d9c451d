package agent

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
	"github.com/wadi-run/wadi/internal/store"
	"github.com/wadi-run/wadi/scheduler"
)

// leaderInfo is what the lock says of its holder.
type leaderInfo struct {
	Name    string `json:"name"`
	URL     string `json:"url"`
	Mesh    string `json:"mesh,omitempty"`    // host:port of its mesh listener.
	Machine string `json:"machine,omitempty"` // See [membership.MachineID].
}

func (a *Agent) setLeader(value string) {
	var l leaderInfo
	if value != "" {
		if err := json.Unmarshal([]byte(value), &l); err != nil {
			a.log.Warn("the leader's name is not readable", "value", value)
		}
	}
	if l.URL != "" {
		if _, err := url.Parse(l.URL); err != nil {
			l.URL = ""
		}
	}
	a.leader.Store(&l)
}

// Leader implements server.Leadership.
func (a *Agent) Leader() (name, url string) {
	l := a.leader.Load()
	return l.Name, l.URL
}

// lead is one term: everything in it is new, so that nothing of an earlier one
// is believed.
func (a *Agent) lead(ctx context.Context, term *consul.Term) error {
	a.log.Info("leading")
	defer a.log.Info("no longer leading")
	reg := prometheus.NewRegistry() // Gone with the term.
	a.term.Store(reg)
	defer a.term.Store(nil)
	reg.MustRegister(a.decisions)
	defer a.decisions.Clear()
	meter := measure.New(a.nomad, a.log, reg)
	writer := a.store.Writer(term.Lock)
	asLeader := leaderNomad{loopNomad{a.nomad}, term}
	scaler := control.NewAutoscaler()
	entries := &mesh.Layer{Entries: leaderEntries{a.consul, term}, Log: a.log.Named("network")}
	edits := &mesh.Watcher{Source: a.consul, Layer: entries, Log: a.log.Named("network")}
	cluster := loopCluster{a.watcher}
	ctl := &control.Controller{
		Jobs: asLeader, Plans: asLeader, Cluster: cluster, ClusterNews: cluster,
		Store: writer, State: writer, Remover: writer,
		Network: network.Layers{entries, &table.Layer{Gateway: a.gateway}},
		Edits:   edits,
		Meter:   meter, Agents: a.activators, Events: a.events, Owned: &a.owned, URL: a.urlOf,
		Observers: control.Observers{Callers: a.guard, Usage: meter, Instances: meter, Exposure: meter, Exits: a.watcher},
		Memory:    scaler.Memory,
		Retention: scheduler.Retention{
			KeepFor: a.cfg.Retention.KeepFor, KeepActiveFor: a.cfg.Retention.KeepActiveFor, Max: a.cfg.Retention.Max,
		},
		Acted: scaler.Poke, Log: a.log.Named("controller"), Metrics: a.metrics,
	}
	meter.Backlog = a.activator.Backlog()
	scaler.Counts, scaler.Cluster, scaler.Loads = asLeader, cluster, meter
	nodes := &nomad.Nodes{Client: a.nomad, Log: a.log.Named("nomad"), Changed: scaler.Poke}
	scaler.Orders, scaler.Draining = leaderOrders{a.activator, term}, nodes.Draining
	scaler.Services = ctl.Services
	scaler.Wakeable = func(service string) (bool, string) {
		route, _ := a.route(service)
		if ok, why := a.members.Wakeable(route); !ok {
			return false, why
		}
		return ctl.Wakeable(service)
	}
	scaler.Waking = a.activator.Waking
	scaler.Backlog = a.activator.Backlog()
	scaler.Ceiling, scaler.Decisions, scaler.Events = a.cfg.Limits.MaxInstances, a.decisions, a.events
	scaler.Owned, scaler.Log, scaler.Metrics = &a.owned, a.log.Named("autoscaler"), a.metrics
	sweeper := a.sweeper(asLeader, a.store.Writer(term.Lock), ctl.Services)

	a.metrics.SetLeading(true)
	defer a.metrics.SetLeading(false)
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
func (a *Agent) sweeper(jobs control.JobStopper, st *store.Writer, services func() *control.View) *control.Sweeper {
	list := func(ctx context.Context) ([]scheduler.OwnJob, error) {
		name, err := a.learnInstallation(ctx)
		if err != nil {
			return nil, err
		}
		jobs, err := a.nomad.OwnedJobs(ctx, name)
		out := make([]scheduler.OwnJob, 0, len(jobs))
		for _, j := range jobs {
			service, _, _ := wadi.SplitRevisionID(j.ID)
			out = append(out, scheduler.OwnJob{Namespace: j.Namespace, ID: j.ID, Service: service, Index: j.JobModifyIndex})
		}
		return out, err
	}
	return &control.Sweeper{
		List: list, Services: services, Store: st, Jobs: jobs, Events: a.events, Log: a.log.Named("sweeper"),
	}
}

// activators lists all agents, as sources of statistics: this one, whatever Consul
// says, and those that there were lately.
func (a *Agent) activators() []control.Source {
	return a.members.Sources(a.reachable(a.metricsLn.Addr()), time.Now())
}

func (a *Agent) urlOf(s wadi.Service) string {
	if s.Visibility != wadi.Public {
		return ""
	}
	return a.gatewayURL(s.Name)
}
