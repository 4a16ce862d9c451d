package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/agent/network"
	"github.com/wadi-run/wadi/internal/backlog"
	"github.com/wadi-run/wadi/scheduler"
)

// startTime is how long the fake's instances take to become ready.
const startTime = 200 * time.Millisecond

// cluster is a small Nomad with its instances, a store and the network layers,
// in memory. Instances that may start become ready after startTime.
type cluster struct {
	mu        sync.Mutex
	jobs      map[string]*job
	nextID    int
	index     uint64
	cantRun   map[string]string // Revisions whose instances never become ready, and why.
	silent    bool              // Nomad's event stream is away.
	unasked   bool              // No instance has been asked yet whether it is ready.
	slow      time.Duration     // How long instances take to become ready, if longer than startTime.
	load      map[string]float64
	quiet     map[string]time.Time // Since when a revision has no load.
	handLate  int                  // How often it is not known yet who scaled.
	handAt    time.Time            // When somebody scaled by hand last.
	away      bool                 // Nomad does not answer.
	stale     bool                 // The next guarded call meets another change.
	behind    bool                 // The event stream has not told of the jobs' last changes.
	scales    []string
	changed   chan struct{}
	stored    map[string]wadi.Stored
	watch     func([]string)
	layers    map[string]wadi.Route
	edits     control.Edits
	wide      func(string) (string, bool)
	bare      func(string) (string, bool) // Unshielded.
	deaf      bool                        // The network layers take a route, and don't carry it.
	foreign   string                      // Why the network layers can't be programmed; empty: they can.
	applied   int
	statuses  int
	callers   control.Callers
	unread    func(revision string) string
	exits     func(namespace, revision string) []wadi.Exit
	needed    error // Why layers don't let go of a service.
	registers int
	untold    map[string]float64 // Load that is only known of who is asked once more.
	calls     []string           // What Nomad and the store were asked for.
	backlog   *backlog.Set
	waking    func() <-chan struct{}
	looks     int           // How often the leader looked at a revision.
	ends      time.Duration // How long instances of a stopped job take to end.
	drains    func(string) string
	orders    control.Orders
	draining  map[string]bool // Nodes; each instance has one of its own, named as it is.
	unready   map[string]bool // Instances.
	killAfter time.Duration   // How long a client has let instances drain; 0: it has ended none.
	late      time.Duration   // How long after a purge the job is still listed.
	purged    map[string]listed
	unloaded  error         // Why no service can be read; nil: each can.
	loads     int           // How often that was tried.
	plans     int           // How often Nomad was asked for a plan.
	planning  chan struct{} // Nil, or closed when plans are answered.
	planErr   error         // Why none can be made; nil: they can.
}

type job struct {
	scheduler.JobState
	body   string
	allocs []alloc
}

type alloc struct {
	id     string
	placed time.Time
}

// listed is a job that is gone, and listed for a while.
type listed struct {
	scheduler.JobState
	until time.Time
}

func newCluster() *cluster {
	return &cluster{
		jobs: map[string]*job{}, cantRun: map[string]string{}, load: map[string]float64{}, quiet: map[string]time.Time{},
		stored: map[string]wadi.Stored{}, purged: map[string]listed{}, layers: map[string]wadi.Route{}, changed: make(chan struct{}),
		backlog: backlog.New(),
	}
}

// change notifies; with mu held.
func (c *cluster) change() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// set makes the job what a registration or a scaling says; with mu held.
func (c *cluster) set(id, body string, count int) uint64 {
	j := c.jobs[id]
	if j == nil {
		j = &job{}
		c.jobs[id] = j
	}
	c.index++
	j.JobState = scheduler.JobState{Exists: true, Count: count, Index: c.index}
	j.body = body
	for len(j.allocs) < count {
		c.nextID++
		j.allocs = append(j.allocs, alloc{fmt.Sprintf("alloc-%d", c.nextID), time.Now()})
		time.AfterFunc(max(startTime, c.slow), func() { c.mu.Lock(); c.change(); c.mu.Unlock() })
	}
	j.allocs = j.allocs[:count]
	c.change()
	return c.index
}

func (c *cluster) guard(id string, index uint64) error {
	if c.away {
		return wadi.ErrUnavailable
	}
	var have uint64
	if j := c.jobs[id]; j != nil {
		have = j.Index
	}
	if have != index || c.stale {
		c.stale = false
		return wadi.ErrConflict
	}
	return nil
}

// As what the loops ask of Nomad.

func (c *cluster) Job(_ context.Context, _, id string) (scheduler.JobState, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, "Job")
	if c.away {
		return scheduler.JobState{}, wadi.ErrUnavailable
	}
	if j := c.jobs[id]; j != nil {
		state := j.JobState
		if c.behind {
			state.Index++
		}
		return state, nil
	}
	return scheduler.JobState{}, nil
}

func (c *cluster) Scale(_ context.Context, _, id string, count int, index uint64, msg string) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, "Scale")
	if err := c.guard(id, index); err != nil {
		return 0, err
	}
	if msg == "" {
		return 0, fmt.Errorf("scale without a reason")
	}
	c.scales = append(c.scales, fmt.Sprintf("%s=%d", id, count))
	return c.set(id, c.jobs[id].body, count), nil
}

func (c *cluster) Register(_ context.Context, body json.RawMessage, count int, index uint64) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, "Register")
	var id string
	if err := json.Unmarshal(body, &id); err != nil {
		return 0, err
	}
	if err := c.guard(id, index); err != nil {
		return 0, err
	}
	c.registers++
	return c.set(id, string(body), count), nil
}

func (c *cluster) Drifted(ctx context.Context, body json.RawMessage, count int) (bool, error) {
	if err := c.planned(ctx); err != nil {
		return false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var id string
	if err := json.Unmarshal(body, &id); err != nil {
		return false, err
	}
	return c.jobs[id].body != string(body) || c.jobs[id].Count != count, nil
}

func (c *cluster) ScaledByHand(_ context.Context, _, id string, count int) (time.Time, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, "ScaledByHand")
	if c.handLate > 0 {
		c.handLate--
		return time.Time{}, false, errors.New("the history ends before that")
	}
	return c.handAt, !c.handAt.IsZero() && c.jobs[id].Count == count, nil
}

func (c *cluster) Evaluate(context.Context, string, string) error { return nil }

func (c *cluster) Stop(_ context.Context, _, id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if j := c.jobs[id]; j != nil {
		c.index++
		j.JobState = scheduler.JobState{Exists: true, Stopped: true, Index: c.index}
		if c.ends > 0 {
			time.AfterFunc(c.ends, func() { c.mu.Lock(); j.allocs = nil; c.change(); c.mu.Unlock() })
		} else {
			j.allocs = nil
		}
		c.change()
	}
	return nil
}

func (c *cluster) Purge(_ context.Context, _, id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if j := c.jobs[id]; j != nil && c.late > 0 {
		c.purged[id] = listed{j.JobState, time.Now().Add(c.late)}
		time.AfterFunc(c.late, func() { c.mu.Lock(); c.change(); c.mu.Unlock() })
	}
	delete(c.jobs, id)
	c.change()
	return nil
}

// view is the same cluster as the event stream and the meter, whose methods have other
// arguments.
type view struct{ *cluster }

func (v view) Synced(string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return !v.silent
}

func (v view) Usable(ns string) bool { return v.Synced(ns) }

func (v view) Job(_, id string) scheduler.JobState {
	v.mu.Lock()
	defer v.mu.Unlock()
	if j := v.jobs[id]; j != nil && !v.away {
		return j.JobState
	}
	if l, ok := v.purged[id]; ok && time.Now().Before(l.until) {
		return l.JobState
	}
	return scheduler.JobState{}
}

func (v view) Endpoints(_, id string) ([]wadi.Endpoint, <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var eps []wadi.Endpoint
	if j := v.jobs[id]; j != nil {
		for i, a := range j.allocs {
			eps = append(eps, wadi.Endpoint{Revision: id, Instance: a.id, Index: i, Running: true, Node: "node-of-" + a.id, KillAfter: v.killAfter, Metrics: "127.0.0.1:1", Stopping: j.Stopped})
		}
	}
	return eps, v.changed
}

func (v view) Diagnosis(_, id string) (string, time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.looks++
	return v.cantRun[id], time.Time{}
}

func (v view) Changed() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.changed
}

func (v view) Set([]control.MeasuredRevision, []control.Source) {}

func (v view) ReadyCount(id string) (int, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.unasked {
		return 0, false
	}
	n := 0
	if j := v.jobs[id]; j != nil && v.cantRun[id] == "" {
		for _, a := range j.allocs {
			if time.Since(a.placed) >= max(startTime, v.slow) {
				n++
			}
		}
	}
	return n, true
}

func (v view) Ready(id string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return !v.unready[id]
}

func (v view) Load(id string, by []wadi.MetricTarget, stable, _ time.Duration, into *scheduler.Loads) (int, bool) {
	ready, known := v.ReadyCount(id)
	v.mu.Lock()
	defer v.mu.Unlock()
	l := v.load[id]
	a := scheduler.Averages{Stable: l, Panic: l, Coverage: 1, PanicCoverage: 1, End: time.Now()}
	if l == 0 {
		a.Idle = time.Since(v.quiet[id])
	}
	into.Concurrency = a
	for _, m := range by {
		*into.Of(m.Metric) = a
	}
	return ready, known
}

func (v view) Confirm(_ context.Context, id string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.scales = append(v.scales, id+" confirmed")
	if l, ok := v.untold[id]; ok {
		v.load[id] = l
	}
}

// As what the loops ask of the store.

func (c *cluster) Watch(ctx context.Context, changed func([]string)) error {
	c.mu.Lock()
	c.watch = changed
	names := slices.Collect(maps.Keys(c.stored))
	c.mu.Unlock()
	changed(names)
	<-ctx.Done()
	return nil
}

func (c *cluster) Load(_ context.Context, name string) (wadi.Stored, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unloaded != nil {
		c.loads++
		return wadi.Stored{Status: c.stored[name].Status}, c.unloaded
	}
	s, ok := c.stored[name]
	if !ok {
		return s, wadi.ErrNotFound
	}
	s.State.Revisions = maps.Clone(s.State.Revisions)
	return s, nil
}

func (c *cluster) Revision(_ context.Context, service, id string) (wadi.Revision, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, "Revision")
	for _, r := range c.stored[service].Revisions {
		if r.ID == id {
			return r, nil
		}
	}
	return wadi.Revision{}, wadi.ErrNotFound
}

func (c *cluster) edit(name string, f func(*wadi.Stored)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.stored[name]
	if !ok {
		return wadi.ErrNotFound
	}
	f(&s)
	c.stored[name] = s
	return nil
}

func (c *cluster) PutRoute(_ context.Context, r wadi.Route) error {
	return c.edit(r.Service, func(s *wadi.Stored) { s.Route = r })
}

func (c *cluster) PutState(_ context.Context, name string, st wadi.State) error {
	return c.edit(name, func(s *wadi.Stored) { s.State = st })
}

func (c *cluster) PutStatus(_ context.Context, st wadi.Status) error {
	return c.edit(st.Service, func(s *wadi.Stored) { s.Status = st; c.statuses++ })
}

func (c *cluster) DeleteRevision(_ context.Context, name, id string) error {
	return c.edit(name, func(s *wadi.Stored) {
		s.Revisions = slices.DeleteFunc(slices.Clone(s.Revisions), func(r wadi.Revision) bool { return r.ID == id })
	})
}

func (c *cluster) Forget(_ context.Context, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.stored, name)
	return nil
}

// layer is the cluster as a network layer.
type layer struct{ *cluster }

func (l layer) Apply(_ context.Context, r wadi.Route) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.applied++
	switch {
	case l.foreign != "":
		return fmt.Errorf("%w: %s", wadi.ErrForeign, l.foreign)
	case !l.deaf:
		l.layers[r.Service] = r
	}
	return nil
}

func (l layer) Remove(_ context.Context, name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.needed != nil {
		return l.needed
	}
	delete(l.layers, name)
	return nil
}

func (l layer) Programmed(_ context.Context, r wadi.Route) (bool, string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprint(l.layers[r.Service]) == fmt.Sprint(r), l.foreign, nil
}

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
	o.Callers = c.callers
	if c.unread != nil {
		o.Usage = reports{c}
	}
	if c.drains != nil {
		o.Instances = reports{c}
	}
	if c.wide != nil || c.bare != nil {
		o.Exposure = reports{c}
	}
	if c.exits != nil {
		o.Exits = reports{c}
	}
	return o
}

// reports is the cluster as the observers of the controller.
type reports struct{ c *cluster }

func (r reports) Unread(id string) string             { return r.c.unread(id) }
func (r reports) Unready(string) string               { return "" }
func (r reports) Draining(id string) string           { return r.c.drains(id) }
func (r reports) Exits(ns, id string) []wadi.Exit     { return r.c.exits(ns, id) }
func (r reports) Wide(id string) (string, bool)       { return reported(r.c.wide, id) }
func (r reports) Unshielded(id string) (string, bool) { return reported(r.c.bare, id) }

func reported(of func(string) (string, bool), id string) (string, bool) {
	if of == nil {
		return "", false
	}
	return of(id)
}

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
	a.Draining = func() map[string]bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.draining
	}
	a.Backlog = c.backlog
	a.Counts, a.Cluster, a.Loads, a.Services = c, view{c}, view{c}, ctl.Services
	a.Waking = c.waking
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
		Retention: wadi.Retention{Keep: 5},
		Scale: wadi.Scaling{
			Initial: 1, Activation: 1, Window: wadi.Duration(10 * time.Second), PanicWindowPercent: 10, PanicThresholdPercent: 200,
			MaxUpRate: 1000, MaxDownRate: 2, Metrics: []wadi.MetricTarget{{Metric: wadi.Concurrency, Target: 10, Utilization: 1}},
		},
	}
	body, _ := json.Marshal(id)
	s.Revisions = append(slices.Clone(s.Revisions), wadi.Revision{ID: id, Service: name, Number: n, Spec: s.Service, Job: body})
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
