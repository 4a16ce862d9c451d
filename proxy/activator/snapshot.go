package activator

import (
	"cmp"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
)

// Bounds of a Snapshot.
const (
	maxSnapshotRevisions = 200
	maxSnapshotRequests  = 50 // Of each revision, and of each kind.
	maxSnapshotInstances = 100
	maxSnapshotText      = 200 // Bytes of a path or host.
)

// Snapshot is what an activator does now, for the admin plane. It holds no query, no
// header and no body: they may be secret.
type Snapshot struct {
	Draining  bool               `json:"draining"`
	Inside    int64              `json:"inside"` // Requests that have not ended.
	Revisions []RevisionSnapshot `json:"revisions"`
	Wakes     float64            `json:"wakes_per_second"` // How many may begin; fewer than configured while Nomad places slowly.
	Omitted   int                `json:"omitted"`          // Revisions with requests or instances that are not among them.
}

// RevisionSnapshot is what one revision does now.
type RevisionSnapshot struct {
	Service  string `json:"service"`
	Revision string `json:"revision"`

	Waiting    int           `json:"waiting"`
	InFlight   int           `json:"in_flight"`
	OldestWait wadi.Duration `json:"oldest_wait"`
	WakeError  string        `json:"wake_error,omitempty"` // Of the last wake, if it failed.

	Instances []InstanceSnapshot `json:"instances"` // Not all, if they are many.
	Requests  []RequestSnapshot  `json:"requests"`  // The oldest of each kind.
}

// InstanceSnapshot is one instance as the activator sees it.
type InstanceSnapshot struct {
	Instance string `json:"instance"`
	Address  string `json:"address"`
	State    string `json:"state"` // ready, probed, stopping or idle: neither ready nor probed.
	InFlight int    `json:"in_flight"`
}

// RequestSnapshot is one request.
type RequestSnapshot struct {
	Method   string        `json:"method"`
	Host     string        `json:"host"`
	Path     string        `json:"path"`
	Caller   string        `json:"caller,omitempty"`
	Age      wadi.Duration `json:"age"`
	Waiting  bool          `json:"waiting"`
	Instance string        `json:"instance,omitempty"` // That it is at.
	Attempts int           `json:"attempts,omitempty"`
}

// Snapshot lists the requests that wait and are in flight now. Its length is bounded.
func (a *Activator) Snapshot() Snapshot {
	d := Snapshot{Draining: a.draining.Load(), Inside: a.active.Load(), Wakes: a.wakes.rate(), Revisions: []RevisionSnapshot{}}
	now := time.Now()
	for _, r := range *a.revisions.Load() {
		if rev, busy := r.snapshot(now); busy {
			d.Revisions = append(d.Revisions, rev)
		}
	}
	slices.SortFunc(d.Revisions, func(a, b RevisionSnapshot) int {
		return cmp.Or(cmp.Compare(b.Waiting, a.Waiting), cmp.Compare(b.InFlight, a.InFlight), cmp.Compare(a.Revision, b.Revision))
	})
	if over := len(d.Revisions) - maxSnapshotRevisions; over > 0 {
		d.Omitted = over
		d.Revisions = d.Revisions[:maxSnapshotRevisions]
	}
	return d
}

// snapshot describes r. It reports whether r has any request or instance.
func (r *revision) snapshot(now time.Time) (d RevisionSnapshot, busy bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d = RevisionSnapshot{
		Service: r.service, Revision: r.id, Waiting: r.queue.Len(), InFlight: r.inFlight.Len(),
		Instances: []InstanceSnapshot{}, Requests: []RequestSnapshot{},
	}
	if r.waker.err != nil {
		d.WakeError = r.waker.err.Error()
	}
	if q := r.queue.First(); q != nil {
		d.OldestWait = wadi.Duration(now.Sub(q.arrived))
	}
	for _, l := range []*requestList{&r.queue.requestList, &r.inFlight.requestList} {
		n := 0
		for q := range l.All() {
			if n++; n > maxSnapshotRequests {
				break
			}
			d.Requests = append(d.Requests, q.snapshot(now, l == &r.queue.requestList))
		}
	}
	for _, i := range r.pool.instances {
		if len(d.Instances) == maxSnapshotInstances {
			break
		}
		d.Instances = append(d.Instances, InstanceSnapshot{i.ep.Instance, i.ep.Addr, i.state(), i.inFlight})
	}
	slices.SortFunc(d.Instances, func(a, b InstanceSnapshot) int { return cmp.Compare(a.Instance, b.Instance) })
	return d, r.queue.Len()+r.inFlight.Len()+len(r.pool.instances) > 0
}

// snapshot describes q. The caller holds the revision's mutex.
func (q *request) snapshot(now time.Time, waiting bool) RequestSnapshot {
	d := RequestSnapshot{
		Method: clip(q.in.Method), Host: clip(q.in.Host), Path: clip(q.in.URL.Path), Caller: q.caller,
		Age: wadi.Duration(now.Sub(q.arrived)), Waiting: waiting,
	}
	if !waiting {
		d.Instance, d.Attempts = q.grant.instance.ep.Instance, int(q.sent.Load())
	}
	return d
}

func (i *instance) state() string {
	switch {
	case i.stopping || i.gone:
		return "stopping"
	case i.ready:
		return "ready"
	case i.probing:
		return "probed"
	}
	return "idle"
}

func clip(s string) string { return s[:min(len(s), maxSnapshotText)] }
