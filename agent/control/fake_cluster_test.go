package control_test

import (
	"context"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/scheduler"
)

func weightOf(r wadi.Route, revision string) (w int) {
	for _, t := range r.Targets {
		if t.Revision == revision {
			w += t.Weight
		}
	}
	return w
}

// view is the same cluster as the event stream and the meter, whose methods have other
// arguments.
type view struct{ *cluster }

func (v view) Synced(string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return !v.disconnected
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
		for _, a := range j.ended {
			ep := wadi.Endpoint{Revision: id, Instance: a.id, Created: a.placed.UnixNano(), Stopping: true, Ended: true}
			a.lacks.tell(&ep)
			eps = append(eps, ep)
		}
		for _, a := range j.leaves {
			eps = append(eps, wadi.Endpoint{Revision: id, Instance: a.id, Running: true, Node: "node-of-" + a.id, KillAfter: v.killAfter, Metrics: "127.0.0.1:1", Stopping: true})
		}
		for i, a := range j.allocs {
			eps = append(eps, wadi.Endpoint{Revision: id, Instance: a.id, Index: i, Running: true, Node: "node-of-" + a.id, KillAfter: v.killAfter, Metrics: "127.0.0.1:1", Stopping: j.Stopped})
			a.lacks.tell(&eps[len(eps)-1])
		}
	}
	return eps, v.changed
}

func (v view) Diagnosis(_, id string) wadi.Diagnosis {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.reads++
	if j := v.jobs[id]; j != nil && len(j.allocs) > 0 && j.allocs[0].lacks.now() {
		return j.allocs[0].lacks.diagnosis()
	}
	return wadi.Diagnosis{Reason: v.cantRun[id]}
}

func (v view) Changed() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.changed
}

// TakeChanged names the services that a test does; otherwise any may have changed.
func (v view) TakeChanged() ([]string, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.taken == v.changed {
		return nil, false
	}
	v.taken = v.changed
	return v.named, v.named == nil
}

func (v view) Set([]control.MeasuredRevision, []control.Source) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sets++
}

func (v view) ReadyCount(id string) (int, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.readyUnknown {
		return 0, false
	}
	n := 0
	if j := v.jobs[id]; j != nil && v.cantRun[id] == "" {
		for _, a := range j.allocs {
			if !a.lacks.now() && time.Since(a.placed) >= max(startTime, v.slow) {
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
	if v.shared > 0 {
		service, _, _ := wadi.SplitRevisionID(id)
		l = v.shared * float64(weightOf(v.stored[service].Route, id)) / wadi.WeightAll
		if l == 0 && v.quiet[id].IsZero() {
			v.quiet[id] = time.Now()
		} else if l > 0 {
			v.quiet[id] = time.Now()
		}
	}
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
	if l, ok := v.unreported[id]; ok {
		v.load[id] = l
	}
}

// As what the loops ask of the store.
