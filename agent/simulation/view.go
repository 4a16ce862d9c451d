package simulation

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// grace is how long what is known may be acted on after the event stream broke.
const grace = 10 * time.Second

// View is what one agent knows of Nomad: the events that have reached it. As the real
// watcher it believes no event that is older than what it knows, and reads everything anew
// after its stream broke.
type View struct {
	n *Nomad
	// Reread is told at which index a full read found a job; 0: it did not.
	Reread func(id string, index uint64)
	// Lag is how long the next event takes; nil: none does.
	Lag func() time.Duration

	connected bool
	brokeAt   time.Time
	jobs      map[string]known[scheduler.JobState]
	instances map[string]known[[]wadi.Endpoint]
	watched   map[string]chan struct{} // Of instances, by job.
	changed   chan struct{}
	queue     []event
	news      map[string]bool // The services that TakeChanged returns.
	allNews   bool
}

// known is a value, and the index at which Nomad had it.
type known[T any] struct {
	index uint64
	value T
	gone  bool
}

// event is the state of a job, or of its instances, at an index.
type event struct {
	at        time.Time
	index     uint64
	id        string
	job       *scheduler.JobState // Nil: it is about instances.
	instances []wadi.Endpoint
}

// View returns the view of a new agent, whose stream is not open yet.
func (n *Nomad) View() *View {
	v := &View{
		n: n, jobs: map[string]known[scheduler.JobState]{}, instances: map[string]known[[]wadi.Endpoint]{},
		watched: map[string]chan struct{}{}, changed: make(chan struct{}), news: map[string]bool{},
	}
	n.Views = append(n.Views, v)
	return v
}

// Close drops a view.
func (v *View) Close() {
	v.n.Views = slices.DeleteFunc(v.n.Views, func(o *View) bool { return o == v })
}

// emit sends the events of a change.
func (n *Nomad) emit(id string, job bool) {
	for _, v := range n.Views {
		if !v.connected {
			continue
		}
		if job {
			s := n.state(id)
			v.send(event{index: n.index, id: id, job: &s})
		}
		v.send(event{index: n.index, id: id, instances: n.endpoints(id)})
	}
}

func (v *View) send(e event) {
	e.at = time.Now()
	if v.Lag != nil {
		e.at = e.at.Add(v.Lag())
	}
	v.queue = append(v.queue, e)
}

func (n *Nomad) state(id string) scheduler.JobState {
	if j := n.jobs[id]; j != nil {
		return j.JobState
	}
	return scheduler.JobState{}
}

func (n *Nomad) endpoints(id string) (out []wadi.Endpoint) {
	j := n.jobs[id]
	if j == nil {
		return nil
	}
	now := time.Now()
	for _, a := range j.allocs {
		if a.Ended && now.Sub(a.EndsAt) > 10*time.Second {
			continue
		}
		out = append(out, wadi.Endpoint{
			Revision: id, Service: j.Service, Namespace: j.Namespace, Instance: a.ID, Index: a.Name, Node: a.Node,
			Created: a.Created.UnixNano(), Running: !a.Ended && now.Sub(a.Created) > starts,
			Stopping: a.Stopping || a.Ended || a.Moving, Moving: a.Moving, Ended: a.Ended, Metrics: "127.0.0.1:1",
		})
	}
	return out
}

// Repeat sends the present state of all jobs again, as of earlier events.
func (v *View) Repeat() {
	for _, e := range v.queue {
		v.send(e)
	}
	for id, k := range v.jobs {
		s := k.value
		v.send(event{index: k.index, id: id, job: &s})
	}
}

// Break breaks the stream: what is under way is lost.
func (v *View) Break() {
	if v.connected {
		v.connected, v.brokeAt, v.queue = false, time.Now(), nil
	}
}

// Connected reports whether the stream is open.
func (v *View) Connected() bool { return v.connected }

// Connect opens the stream, and reads everything.
func (v *View) Connect() {
	v.connected, v.queue, v.allNews = true, nil, true
	for id := range v.jobs {
		if v.n.jobs[id] == nil {
			v.reread(id, 0)
		}
	}
	for id, j := range v.n.jobs {
		v.reread(id, j.Index)
	}
}

func (v *View) reread(id string, index uint64) {
	if v.Reread != nil {
		v.Reread(id, index)
	}
	v.jobs[id] = known[scheduler.JobState]{v.n.index, v.n.state(id), index == 0}
	v.take(id, v.n.index, v.n.endpoints(id))
	v.signal()
}

// Deliver takes in the events that have come by now.
func (v *View) Deliver() {
	now := time.Now()
	var later, due []event
	for _, e := range v.queue {
		if e.at.After(now) {
			later = append(later, e)
		} else {
			due = append(due, e)
		}
	}
	v.queue = later
	for _, e := range due {
		v.news[serviceOf(e.id)] = true
		switch {
		case e.job != nil:
			if e.index >= v.jobs[e.id].index {
				v.jobs[e.id] = known[scheduler.JobState]{e.index, *e.job, !e.job.Exists}
			}
		case e.index >= v.instances[e.id].index:
			v.take(e.id, e.index, e.instances)
		}
	}
	if len(due) > 0 {
		v.signal()
	}
}

func (v *View) take(id string, index uint64, eps []wadi.Endpoint) {
	v.instances[id] = known[[]wadi.Endpoint]{index: index, value: eps}
	if ch := v.watched[id]; ch != nil {
		close(ch)
	}
	v.watched[id] = make(chan struct{})
}

func (v *View) signal() {
	close(v.changed)
	v.changed = make(chan struct{})
}

// Synced reports whether the stream is open.
func (v *View) Synced(string) bool { return v.connected }

// Usable reports whether what is known may be acted on.
func (v *View) Usable(string) bool {
	return v.connected || !v.brokeAt.IsZero() && time.Since(v.brokeAt) < grace
}

// Job is the last known state of a job.
func (v *View) Job(_, id string) scheduler.JobState { return v.jobs[id].value }

// Endpoints are the last known instances of a job: none, once it is known to be purged.
func (v *View) Endpoints(_, id string) ([]wadi.Endpoint, <-chan struct{}) {
	if v.watched[id] == nil {
		return nil, v.changed
	}
	if v.jobs[id].gone {
		return nil, v.changed
	}
	return v.instances[id].value, v.watched[id]
}

// Diagnosis is nothing: what Nomad says of failures is not simulated.
func (v *View) Diagnosis(string, string) wadi.Diagnosis { return wadi.Diagnosis{} }

// Changed is closed at the next change.
func (v *View) Changed() <-chan struct{} { return v.changed }

// TakeChanged implements control.ServiceNews.
func (v *View) TakeChanged() (services []string, all bool) {
	services, all = slices.Sorted(maps.Keys(v.news)), v.allNews
	clear(v.news)
	v.allNews = false
	return services, all
}

// serviceOf is the service of a revision.
func serviceOf(revision string) string {
	return revision[:max(0, strings.LastIndexByte(revision, '-'))]
}

// Known are the jobs that it knows of.
func (v *View) Known() []string { return slices.Sorted(maps.Keys(v.jobs)) }
