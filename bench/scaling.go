package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/internal/scrape"
	"github.com/wadi-run/wadi/proxy/activator"
	"github.com/wadi-run/wadi/scheduler"
)

const (
	scalingRevisions = 10000
	scalingPasses    = 20
	scalingWindow    = time.Minute
	scalingWakes     = 100
)

// scaling measures the autoscaler alone, by its own code and without a cluster.
func scaling(ctx context.Context, b *bench) ([]section, error) {
	var all []section
	for _, measure := range []func(context.Context, *bench) (section, error){passes, wakes, sourcesCost} {
		s, err := measure(ctx, b)
		if err != nil {
			return all, err
		}
		all = append(all, s)
	}
	return all, nil
}

// newStage is a Nomad with a job for each of so many revisions, with count instances each.
func newStage(revisions, count int) *stage {
	s := &stage{
		count: count, services: map[string]*wadi.Stored{}, jobs: map[string]scheduler.JobState{},
		absent: make(chan struct{}), now: time.Unix(1_800_000_000, 0), scaled: make(chan time.Time, 1),
	}
	for i := range revisions {
		name := fmt.Sprintf("service-%d", i)
		id := wadi.RevisionID(name, 1)
		s.names = append(s.names, name)
		s.jobs[id] = s.job()
		if count > 0 {
			s.endpoints.Store(id, &instances{[]wadi.Endpoint{{Revision: id, Instance: "i-" + id, Running: true}}, make(chan struct{})})
		}
	}
	return s
}

// fill stores a service for each revision. One instance and one activator have reported a
// whole window.
func (s *stage) fill() {
	var revs []scrape.Revision
	var srcs []scrape.Source
	for _, name := range s.names {
		id := wadi.RevisionID(name, 1)
		svc := wadi.Service{
			Name: name, Namespace: "default", Traffic: []wadi.TrafficTarget{{Revision: wadi.Latest, Percent: 100}},
			Scale: wadi.Scaling{
				Initial: 1, Activation: 1, Window: wadi.Duration(scalingWindow), PanicWindowPercent: 10, PanicThresholdPercent: 200,
				MaxUpRate: 1000, MaxDownRate: 2, Metrics: []wadi.MetricTarget{wadi.Concurrency.Default()},
			},
		}
		s.services[name] = &wadi.Stored{
			Service: svc, Latest: id, Generation: 1, Revisions: []wadi.Revision{{ID: id, Service: name, Number: 1, Spec: svc}},
			State: wadi.State{Revisions: map[string]wadi.RevisionState{id: {Phase: wadi.Ready}}},
			Route: wadi.Route{Service: name, Targets: []wadi.RouteTarget{{Revision: id, Weight: wadi.WeightAll}}},
		}
		if s.count > 0 {
			srcs = append(srcs, scrape.Source{ID: "i-" + id, Kind: wadi.SourceInstance, Revision: id, Starting: true})
		}
		revs = append(revs, scrape.Revision{ID: id, Created: s.now.Add(-time.Hour), Window: scalingWindow})
	}
	next := 0
	s.scraper = scrape.New(hclog.NewNullLogger(), nil)
	s.scraper.Windows = func(time.Time, time.Duration) *scheduler.Windows {
		next++
		return filled(revs[next-1].ID, s.now)
	}
	s.scraper.Set(revs, srcs)
}

// filled is a window with load in every second.
func filled(id string, now time.Time) *scheduler.Windows {
	seconds := int64(scalingWindow / time.Second)
	w := scheduler.NewWindows(now.Add(-time.Hour), scalingWindow)
	w.SourceUp("agent-1", wadi.SourceActivator, now.Add(-time.Hour))
	w.SourceUp("i-"+id, wadi.SourceInstance, now.Add(-time.Hour))
	var samples []wadi.Sample
	for n := range seconds {
		samples = append(samples, wadi.Sample{N: 3600 - seconds + n, Concurrency: 20 + float64(n%7), Begun: 100})
	}
	w.Report("agent-1", 0, wadi.Stats{Boot: "a", Now: 3600, Revision: id}, now)
	w.Report("i-"+id, 0, wadi.Stats{Boot: "b", Now: 3600, Revision: id, Samples: samples}, now)
	return w
}

func (s *stage) autoscaler() *control.Autoscaler {
	a := control.NewAutoscaler()
	a.Counts, a.Cluster, a.Loads = s, view{s}, view{s}
	all := &control.View{Services: s.services}
	a.Services = func() *control.View { return all }
	a.Wakeable = func(string) (bool, string) { return true, "" }
	a.History, a.Events, a.Owned = &control.History{}, &control.Events{}, &control.Owned{}
	a.Log, a.Metrics, a.Settings = hclog.NewNullLogger(), control.NewMetrics(prometheus.NewRegistry()), control.NewLive(control.Settings{Ceiling: 100})
	return a
}

// passes measures how long one evaluation of many revisions takes, and their memory.
func passes(ctx context.Context, b *bench) (section, error) {
	out := section{
		Title:   fmt.Sprintf("one evaluation of %d revisions with a window of %v, %d times", scalingRevisions, scalingWindow, scalingPasses),
		Columns: []string{"p50 ms", "p99 ms", "CPU ms", "KiB a revision"},
	}
	for _, kind := range []struct {
		label string
		count int
	}{{"each with one busy instance", 1}, {"all at zero", 0}} {
		p, err := measurePasses(ctx, b, kind.count)
		if err != nil {
			return out, err
		}
		out.add(kind.label, p.took.at(.5), p.took.at(.99), p.cpu, p.memory)
		if kind.count > 0 {
			out.judge("ms of CPU of an evaluation of 10,000 revisions", p.cpu, 50)
			out.judge("KiB a revision, without decisions", p.memory, 8)
			out.note("windows, sources and what is stored of the service are %.1f KiB of it", p.windows)
		}
	}
	return out, nil
}

// passCost is what the passes of one kind of revisions cost.
type passCost struct {
	took            samples
	cpu             float64 // Milliseconds a pass.
	memory, windows float64 // KiB a revision; windows is the part for measurements and stored data.
}

// measurePasses measures passes over revisions with count instances each.
func measurePasses(ctx context.Context, b *bench, count int) (p passCost, err error) {
	s := newStage(scalingRevisions, count)
	before := heapInUse()
	s.fill()
	windows := heapInUse() - before
	a := s.autoscaler()
	a.Pass(ctx) // The first pass allocates what later ones reuse.
	used := ownCPU()
	stop, err := b.profileSelf("scaling-pass-" + fmt.Sprint(count) + ".pprof")
	if err != nil {
		return p, err
	}
	for range scalingPasses {
		began := time.Now()
		a.Pass(ctx)
		p.took = append(p.took, time.Since(began))
		if err := ctx.Err(); err != nil {
			return p, err
		}
	}
	if err := stop(); err != nil {
		return p, err
	}
	p.cpu = ms(ownCPU()-used) / scalingPasses
	a.History.Clear()
	a.Pass(ctx) // It releases them.
	p.memory = float64(heapInUse()-before) / scalingRevisions / 1024
	p.windows = float64(windows) / scalingRevisions / 1024
	runtime.KeepAlive(s)
	runtime.KeepAlive(a)
	return p, nil
}

// heapInUse is the live heap in bytes.
func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// ownCPU is the CPU time of this process.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0 // It does not fail for the own process.
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// wakes measures the time from a request for a revision at zero to the scale call.
func wakes(ctx context.Context, _ *bench) (section, error) {
	out := section{Title: fmt.Sprintf("from a request for a revision at zero to the call that scales it, %d times", scalingWakes), Columns: []string{"p50 ms", "p99 ms"}}
	s := newStage(scalingWakes, 0)
	routes := wakeRoutes(s.names)
	act, err := wakingActivator(s, routes)
	if err != nil {
		return out, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { _ = act.Run(ctx) }) // It returns nil.
	var took samples
	for name := range routes {
		d, err := s.wake(ctx, act, name)
		if err != nil {
			return out, err
		}
		took = append(took, d)
	}
	out.add("request to scale call", took.at(.5), took.at(.99))
	out.judge("ms from a request to the scale call, p99", took.at(.99), 10)
	return out, nil
}

// wakeRoutes sends all traffic of each service to its first revision.
func wakeRoutes(services []string) map[string]wadi.Route {
	routes := map[string]wadi.Route{}
	for _, name := range services {
		id := wadi.RevisionID(name, 1)
		all := []wadi.RouteTarget{{Revision: id, Weight: wadi.WeightAll}}
		routes[name] = wadi.Route{Service: name, Namespace: "default", Targets: all, Revisions: map[string]wadi.RouteRevision{
			id: {Activation: 1, Queue: wadi.Queue{Depth: 10, Timeout: wadi.Duration(time.Second)}, Timeout: wadi.Timeouts{Request: wadi.Duration(time.Second)}},
		}}
	}
	return routes
}

// wakingActivator is an activator that wakes the revisions of a stage.
func wakingActivator(s *stage, routes map[string]wadi.Route) (*activator.Activator, error) {
	act, err := activator.New(activator.Config{
		Name: "bench", Boot: "1", Endpoints: routed{view{s}}, Diagnoses: routed{view{s}}, Dialer: view{s}, Settings: activator.Settings{MaxWakes: 10 * scalingWakes},
		Waker: &control.Waker{
			Jobs: s, Cluster: view{s}, Events: &control.Events{}, Owned: &control.Owned{}, Log: hclog.NewNullLogger(),
			Route: func(service string) (wadi.Route, bool) { r, ok := routes[service]; return r, ok },
		},
		Log: hclog.NewNullLogger(), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		return nil, err
	}
	act.SetRoutes(routes)
	return act, nil
}

// wake sends a request for a service at zero, and returns the time until the scale call.
func (s *stage) wake(ctx context.Context, act *activator.Activator, name string) (time.Duration, error) {
	asking, cancel := context.WithCancel(ctx)
	var request sync.WaitGroup
	defer request.Wait()
	defer cancel()
	began := time.Now()
	request.Go(func() {
		act.ServeRevision(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "http://bench/", nil).WithContext(asking), name, wadi.RevisionID(name, 1))
	})
	select {
	case at := <-s.scaled:
		return at.Sub(began), nil
	case <-time.After(10 * time.Second):
		return 0, fmt.Errorf("%s was not woken", name)
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// profileSelf takes a CPU profile of this process, if profiles are requested, until the
// returned function is called.
func (b *bench) profileSelf(file string) (stop func() error, err error) {
	if b.profiles == "" {
		return func() error { return nil }, nil
	}
	return profileTo(b.profiles + string(os.PathSeparator) + file)
}
