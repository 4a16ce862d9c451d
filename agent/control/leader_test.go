package control_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/agent/network"
)

var (
	_ control.JobKeeper      = (*cluster)(nil)
	_ control.DriftPlanner   = (*cluster)(nil)
	_ control.CountSetter    = (*cluster)(nil)
	_ control.JobStarter     = (*cluster)(nil)
	_ control.JobPurger      = (*cluster)(nil)
	_ control.JobStopper     = (*cluster)(nil)
	_ control.ServiceReader  = (*cluster)(nil)
	_ control.StateWriter    = (*cluster)(nil)
	_ control.ServiceRemover = (*cluster)(nil)
	_ control.RevisionReader = (*cluster)(nil)
	_ control.UsableCluster  = view{}
	_ control.SyncedCluster  = view{}
	_ control.Meter          = view{}
	_ control.Loads          = view{}
	_ network.Layer          = layer{}
)

// observers are those that the test has set.
func (c *cluster) observers() (o control.Observers) {
	o.Callers, o.Domains = c.callers, c.domains
	if c.unread != nil {
		o.Usage = reports{c}
	}
	if c.drains != nil {
		o.Instances = reports{c}
	}
	if c.wide != nil || c.unshielded != nil {
		o.Exposure = reports{c}
	}
	if c.exits != nil {
		o.Exits = reports{c}
	}
	if c.answers != nil {
		o.Outcomes = reports{c}
	}
	return o
}

// reports is the cluster as the observers of the controller.
type reports struct{ c *cluster }

func (r reports) Unread(id string) string { return r.c.unread(id) }

func (r reports) Outcomes(id string, since time.Time) (wadi.Outcomes, string) {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	r.c.since[id] = since
	return r.c.answers[id], ""
}

func (r reports) Unready(string) string { return "" }

func (r reports) Draining(id string) string { return r.c.drains(id) }

func (r reports) Exits(ns, id string) []wadi.Exit { return r.c.exits(ns, id) }

func (r reports) Wide(id string) (string, bool) { return reported(r.c.wide, id) }

func (r reports) Unshielded(id string) (string, bool) { return reported(r.c.unshielded, id) }

func reported(of func(string) (string, bool), id string) (string, bool) {
	if of == nil {
		return "", false
	}
	return of(id)
}

// nodes is the cluster as Nomad's nodes.
type nodes struct{ c *cluster }

func (n nodes) Draining() map[string]bool {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	return n.c.draining
}

// wakes are those that a test reports.
type wakes struct{ waking func() <-chan struct{} }

func (w wakes) Waking() <-chan struct{} { return w.waking() }

// leader is one term of controller and autoscaler.
type leader struct {
	*control.Controller
	scaler *control.Autoscaler
	events *control.Events
}

// lead starts a term; the returned function ends it and waits.
func lead(t *testing.T, c *cluster) (*leader, func()) {
	t.Helper()
	events, owned := &control.Events{}, &control.Owned{}
	metrics := control.NewMetrics(prometheus.NewRegistry())
	a := control.NewAutoscaler()
	ctl := &control.Controller{
		Jobs: c, Plans: c, Cluster: view{c}, ClusterNews: view{c}, Store: c, State: c, Remover: c, Network: layer{c}, Edits: c.edits,
		Meter: view{c}, Agents: func() []control.Source { return nil }, Observers: c.observers(), Memory: a.Memory,
		Events: events, Owned: owned, Acted: a.Poke,
		URL: func(s wadi.Service) string { return "http://" + s.Name }, Log: hclog.NewNullLogger(), Metrics: metrics,
	}
	a.Orders = c.orders
	a.Nodes = nodes{c}
	a.Backlog = c.backlog
	a.Counts, a.Cluster, a.Loads, a.Services = c, view{c}, view{c}, ctl.Services
	if c.waking != nil {
		a.Wakes = wakes{c.waking}
	}
	a.Warming = ctl.Warming
	a.Wakeable = func(string) (bool, string) { return true, "" }
	a.History, a.Events, a.Owned, a.Log, a.Metrics = &control.History{}, events, owned, hclog.NewNullLogger(), metrics
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := ctl.Run(ctx); err != nil {
			t.Errorf("controller: %v", err)
		}
	})
	wg.Go(func() {
		if err := a.Run(ctx); err != nil {
			t.Errorf("autoscaler: %v", err)
		}
	})
	return &leader{ctl, a, events}, func() { cancel(); wg.Wait() }
}

// leading runs a test in a bubble, on a cluster with a leader.
func leading(t *testing.T, test func(t *testing.T, c *cluster, l *leader)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		l, stop := lead(t, c)
		defer stop()
		test(t, c, l)
	})
}

// submit stores a service with one more revision, as admission does.
func (c *cluster) submit(name string) string {
	c.mu.Lock()
	s := c.stored[name]
	n := len(s.Revisions) + 1
	id := wadi.RevisionID(name, n)
	c.quiet[id] = time.Now()
	s.Service = wadi.Service{
		Name: name, Namespace: "default", ServingTask: "web", Traffic: []wadi.TrafficTarget{{Revision: wadi.Latest, Percent: 100}},
		Timeout:   wadi.Timeouts{Progress: wadi.Duration(time.Minute)},
		Retention: wadi.Retention{Keep: 5}, Rollout: c.rollout,
		Scale: wadi.Scaling{
			Initial: 1, Activation: 1, Window: wadi.Duration(10 * time.Second), PanicWindowPercent: 10, PanicThresholdPercent: 200,
			MaxUpRate: 1000, MaxDownRate: 2, Metrics: []wadi.MetricTarget{{Metric: wadi.Concurrency, Target: 10, Utilization: 1}},
		},
	}
	body, _ := json.Marshal(id)
	s.Revisions = append(slices.Clone(s.Revisions), wadi.Revision{ID: id, Service: name, Number: n, Spec: s.Service, Images: c.images, Job: body})
	s.Latest, s.Generation = id, s.Generation+1
	c.stored[name] = s
	c.set(id, string(body), 0)
	watch := c.watch
	c.mu.Unlock()
	if watch != nil {
		watch([]string{name})
	}
	return id
}

func (c *cluster) count(id string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if j := c.jobs[id]; j != nil {
		return j.Count
	}
	return -1
}

func (c *cluster) scaled() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.scales), func(s string) bool { return strings.HasSuffix(s, " confirmed") })
}

// notify tells the leader that a service was submitted.
func (c *cluster) notify(name string) {
	c.mu.Lock()
	watch := c.watch
	c.mu.Unlock()
	watch([]string{name})
}

func (c *cluster) setLoad(id string, l float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.load[id] = l; l == 0 {
		c.quiet[id] = time.Now()
	}
}

func (c *cluster) service(name string) wadi.Stored {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stored[name]
}

func wantCount(t *testing.T, c *cluster, id string, want int) {
	t.Helper()
	synctest.Wait()
	if got := c.count(id); got != want {
		t.Fatalf("count of %s is %d, want %d (-1 is no job); scalings: %v", id, got, want, c.scaled())
	}
}

func (c *cluster) count0JobKept(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.jobs[id] != nil
}

// calls are what Nomad was asked to do, in order.
func (c *cluster) noted() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}
