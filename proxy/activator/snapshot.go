package activator

import (
	"cmp"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
)

// Bounds of a Dump.
const (
	dumpRevisions = 200
	dumpRequests  = 50 // Of each revision, and of each kind.
	dumpInstances = 100
	dumpText      = 200 // Bytes of a path or host.
)

// Dump is what an activator does now, for the admin plane. It holds no query, no
// header and no body: they may be secret.
type Dump struct {
	Draining  bool           `json:"draining"`
	Inside    int64          `json:"inside"` // Requests that are not over.
	Revisions []RevisionDump `json:"revisions"`
	Wakes     float64        `json:"wakes_per_second"` // How many may begin; fewer than configured while Nomad places slowly.
	Omitted   int            `json:"omitted"`          // Revisions with requests or instances that are not among them.
}

// RevisionDump is what one revision does now.
type RevisionDump struct {
	Service  string `json:"service"`
	Revision string `json:"revision"`

	Waiting    int           `json:"waiting"`
	InFlight   int           `json:"in_flight"`
	OldestWait wadi.Duration `json:"oldest_wait"`
	WakeError  string        `json:"wake_error,omitempty"` // Of the last wake, if it failed.

	Instances []InstanceDump `json:"instances"` // Not all, if they are many.
	Requests  []RequestDump  `json:"requests"`  // The oldest of each kind.
}

// InstanceDump is one instance as the activator sees it.
type InstanceDump struct {
	Instance string `json:"instance"`
	Address  string `json:"address"`
	State    string `json:"state"` // ready, probed, stopping or idle: not ready, and nobody asks.
	InFlight int    `json:"in_flight"`
}

// RequestDump is one request.
type RequestDump struct {
	Method   string        `json:"method"`
	Host     string        `json:"host"`
	Path     string        `json:"path"`
	Caller   string        `json:"caller,omitempty"`
	Age      wadi.Duration `json:"age"`
	Waiting  bool          `json:"waiting"`
	Instance string        `json:"instance,omitempty"` // That it is at.
	Attempts int           `json:"attempts,omitempty"`
}

// Dump lists what waits and what is in flight now. Its length is bounded.
func (a *Activator) Dump() Dump {
	d := Dump{Draining: a.draining.Load(), Inside: a.active.Load(), Wakes: a.wakes.rate(), Revisions: []RevisionDump{}}
	now := time.Now()
	for _, r := range *a.revisions.Load() {
		if one, busy := r.dump(now); busy {
			d.Revisions = append(d.Revisions, one)
		}
	}
	slices.SortFunc(d.Revisions, func(a, b RevisionDump) int {
		return cmp.Or(cmp.Compare(b.Waiting, a.Waiting), cmp.Compare(b.InFlight, a.InFlight), cmp.Compare(a.Revision, b.Revision))
	})
	if over := len(d.Revisions) - dumpRevisions; over > 0 {
		d.Omitted = over
		d.Revisions = d.Revisions[:dumpRevisions]
	}
	return d
}

func (r *revision) dump(now time.Time) (d RevisionDump, busy bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d = RevisionDump{
		Service: r.service, Revision: r.id, Waiting: r.queue.Len(), InFlight: r.inFlight.Len(),
		Instances: []InstanceDump{}, Requests: []RequestDump{},
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
			if n++; n > dumpRequests {
				break
			}
			d.Requests = append(d.Requests, q.dump(now, l == &r.queue.requestList))
		}
	}
	for _, i := range r.pool.instances {
		if len(d.Instances) == dumpInstances {
			break
		}
		d.Instances = append(d.Instances, InstanceDump{i.ep.Instance, i.ep.Addr, i.state(), i.inFlight})
	}
	slices.SortFunc(d.Instances, func(a, b InstanceDump) int { return cmp.Compare(a.Instance, b.Instance) })
	return d, r.queue.Len()+r.inFlight.Len()+len(r.pool.instances) > 0
}

// dump describes q. The caller holds the revision's mutex.
func (q *request) dump(now time.Time, waiting bool) RequestDump {
	d := RequestDump{
		Method: clipped(q.in.Method), Host: clipped(q.in.Host), Path: clipped(q.in.URL.Path), Caller: q.caller,
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

func clipped(s string) string { return s[:min(len(s), dumpText)] }
