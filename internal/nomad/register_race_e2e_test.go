//go:build e2e

package nomad_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/internal/nomad"
	"github.com/wadi-run/wadi/scheduler"
)

// Bounds of the rounds of atOnce, whichever comes first.
const (
	atOnceRounds = 2000
	atOnceTime   = 15 * time.Second
	atOnceID     = "atonce-00001"
)

// In each round three agents wake a revision, the leader scales it, and a person sets its
// count, all at the same moment. Before 2.0.1 Nomad's guard is not safe then: several
// calls that name the same index may be accepted. Nevertheless every waiting request gets
// an instance, and in the end the count follows the load.
//
// Nothing is placed: instances count as running as soon as they are in the count.
func atOnce(t *testing.T, c *nomad.Client, w *nomad.Watcher) {
	if _, err := c.RegisterAt(t.Context(), "", parse(t, c, jobHCL(atOnceID, -1, 99999999, false)), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Purge(context.Background(), "", "default", atOnceID) })
	cl := &counted{Watcher: w}
	scaler, stop := scalerOf(t, c, cl)
	defer stop()
	var wakers []*control.Waker
	for range 3 {
		wakers = append(wakers, wakerOf(c, cl))
	}
	until := time.Now().Add(atOnceTime)
	rounds, taken, conflicts := 0, 0, 0
	for ; rounds < atOnceRounds && time.Now().Before(until); rounds++ {
		cl.load.Store(int64(5 + 10*rand.IntN(4)))
		var all sync.WaitGroup
		errs := make(chan error, 8)
		for _, k := range wakers {
			all.Go(func() { errs <- k.Wake(t.Context(), atOnceID) })
		}
		all.Go(func() {
			_, _, err := c.Scale(t.Context(), "default", atOnceID, rand.IntN(2)*rand.IntN(5), 0, "by hand", nil)
			errs <- err
		})
		scaler.Poke()
		all.Wait()
		close(errs)
		for err := range errs {
			switch {
			case err == nil:
				taken++
			case errors.Is(err, wadi.ErrConflict):
				conflicts++
			default:
				t.Fatalf("round %d: %v", rounds, err)
			}
		}
		if rounds%10 == 0 { // A waiting request asks again, and gets an instance.
			eventually(t, func() error {
				if err := wakers[0].Wake(t.Context(), atOnceID); err != nil && !errors.Is(err, wadi.ErrConflict) {
					return err
				}
				return countIs(t, c, func(n int) bool { return n > 0 })
			})
		}
	}
	t.Logf("%d rounds: %d calls were taken, %d were not", rounds, taken, conflicts)
	cl.load.Store(35)
	eventually(t, func() error {
		scaler.Poke()
		return errors.Join(wakers[1].Wake(t.Context(), atOnceID), countIs(t, c, func(n int) bool { return n == 4 }))
	})
	before, err := c.Job(t.Context(), "", "default", atOnceID)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		scaler.Poke()
		for _, k := range wakers {
			if err := k.Wake(t.Context(), atOnceID); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	after, err := c.Job(t.Context(), "", "default", atOnceID)
	if err != nil || after.Count != 4 || after.JobModifyIndex != before.JobModifyIndex {
		t.Errorf("got %+v (%v) after it had come to rest at %+v", after, err, before)
	}
}

func countIs(t *testing.T, c *nomad.Client, ok func(int) bool) error {
	job, err := c.Job(t.Context(), "", "default", atOnceID)
	if err == nil && !ok(job.Count) {
		err = fmt.Errorf("its count is %d", job.Count)
	}
	return err
}

// eventually waits until try is nil.
func eventually(t *testing.T, try func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = try(); err == nil {
			return
		}
	}
	t.Fatal(err)
}

func wakerOf(c *nomad.Client, cl *counted) *control.Waker {
	route := wadi.Route{
		Service: "atonce", Namespace: "default", Targets: []wadi.RouteTarget{{Revision: atOnceID, Weight: wadi.WeightAll}},
		Revisions: map[string]wadi.RouteRevision{atOnceID: {Activation: 1}},
	}
	return &control.Waker{
		Jobs: loopsNomad{c}, Cluster: cl, Events: &control.Events{}, Owned: &control.Owned{}, Log: hclog.NewNullLogger(),
		Route: func(string) (wadi.Route, bool) { return route, true },
	}
}

// scalerOf runs a leader's autoscaler for this revision only.
func scalerOf(t *testing.T, c *nomad.Client, cl *counted) (a *control.Autoscaler, stop func()) {
	t.Helper()
	svc := wadi.Service{
		Name: "atonce", Namespace: "default", Traffic: []wadi.TrafficTarget{{Revision: atOnceID, Percent: 100}},
		Timeout: wadi.Timeouts{Progress: wadi.Duration(time.Minute)},
		Scale: wadi.Scaling{
			Activation: 1, Window: wadi.Duration(6 * time.Second), PanicWindowPercent: 10, PanicThresholdPercent: 1000,
			MaxUpRate: 1000, MaxDownRate: 1000, Metrics: []wadi.MetricTarget{{Metric: wadi.Concurrency, Target: 10, Utilization: 1}},
		},
	}
	stored := &wadi.Stored{
		Service: svc, Latest: atOnceID, Generation: 1, Revisions: []wadi.Revision{{ID: atOnceID, Service: "atonce", Number: 1, Spec: svc}},
		State: wadi.State{Revisions: map[string]wadi.RevisionState{atOnceID: {Phase: wadi.Ready, WasReady: true}}},
		Route: wadi.Route{Service: "atonce", Targets: []wadi.RouteTarget{{Revision: atOnceID, Weight: wadi.WeightAll}}},
	}
	view := &control.View{Services: map[string]*wadi.Stored{"atonce": stored}}
	a = control.NewAutoscaler()
	a.Counts, a.Cluster, a.Loads = loopsNomad{c}, cl, measured{cl}
	a.Services = func() *control.View { return view }
	a.Wakeable = func(string) (bool, string) { return true, "" }
	a.History, a.Events, a.Owned = &control.History{}, &control.Events{}, &control.Owned{}
	a.Log, a.Metrics, a.Settings = hclog.NewNullLogger(), control.NewMetrics(prometheus.NewRegistry()), control.NewLive(control.Settings{Ceiling: 100})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	return a, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// loopsNomad is Nomad as the loops use it.
type loopsNomad struct{ *nomad.Client }

func (n loopsNomad) Job(ctx context.Context, namespace, id string) (scheduler.JobState, error) {
	job, err := n.Client.Job(ctx, "", namespace, id)
	return scheduler.JobState{Exists: err == nil, Stopped: job.Stopped, Count: job.Count, Index: job.JobModifyIndex}, err
}

func (n loopsNomad) Scale(ctx context.Context, namespace, id string, count int, index uint64, message string) (uint64, error) {
	index, _, err := n.Client.Scale(ctx, namespace, id, count, index, message, nil)
	return index, err
}

func (n loopsNomad) Evaluate(context.Context, string, string) error { return nil }

func (n loopsNomad) Register(context.Context, json.RawMessage, int, uint64) (uint64, error) {
	return 0, errors.New("its job is always there")
}

func (n loopsNomad) ScaledByHand(context.Context, string, string, int) (time.Time, bool, error) {
	return time.Time{}, false, nil // There is no override.
}

// counted is Nomad's event stream, with as many instances as the count.
type counted struct {
	*nomad.Watcher
	load atomic.Int64
}

func (c *counted) Synced(namespace string) bool { return c.Connected(namespace) }

func (c *counted) Job(namespace, revision string) scheduler.JobState {
	j, ok := c.Watcher.Job(namespace, revision)
	return scheduler.JobState{Exists: ok, Stopped: j.Stopped, Count: j.Count, Index: j.JobModifyIndex}
}

func (c *counted) Endpoints(namespace, revision string) ([]wadi.Endpoint, <-chan struct{}) {
	changed := c.Changed()
	var all []wadi.Endpoint
	for i := range c.Job(namespace, revision).Count {
		all = append(all, wadi.Endpoint{Revision: revision, Instance: fmt.Sprint(i), Running: true})
	}
	return all, changed
}

func (c *counted) Diagnosis(string, string) wadi.Diagnosis { return wadi.Diagnosis{} }

// measured is the instances' statistics: each is ready, and together they have the load.
type measured struct{ *counted }

func (m measured) Ready(string) bool               { return true }
func (m measured) Confirm(context.Context, string) {}

func (m measured) Load(id string, by []wadi.MetricTarget, _, _ time.Duration, into *scheduler.Loads) (int, bool) {
	load := float64(m.load.Load())
	into.Concurrency = scheduler.Averages{Stable: load, Panic: load, Coverage: 1, PanicCoverage: 1, End: time.Now()}
	for _, one := range by {
		*into.Of(one.Metric) = into.Concurrency
	}
	return m.Job("default", id).Count, true
}
