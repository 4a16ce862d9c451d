package control

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// record is everything that the autoscaler keeps of one revision. A pass goes over
// records, and looks none up by its ID.
type record struct {
	subject atomic.Pointer[subject]
	mu      sync.Mutex // One evaluation of a revision at a time; guards what follows.

	decider       wadi.Deciders
	remembered    wadi.Deciders // As they were last put into the memory.
	wanted        int
	loaded        int       // How many instances the load alone needs, as it was noted last; -1: not known.
	count         int       // As last seen, or set by this leader; -1: not seen yet.
	index         uint64    // Of the job, when count was seen.
	raised        time.Time // When the count was last seen to grow.
	start         scheduler.Start
	byHandUntil   time.Time                             // Until when a count that was set by hand in Nomad stands.
	byHandChecks  int                                   // How often Nomad may still be asked whether the count was set by hand; 0: that is known, or given up.
	overrideUntil time.Time                             // Until when the last seen override stands.
	history       *revisionHistory                      // Its decisions; nil: none yet.
	draining      map[string]scheduler.DrainingInstance // Instances with an order to drain; replaced and not changed.
	fewer         time.Time                             // Since when fewer instances are known than the count says; zero: they are not.

	migration        scheduler.Migration
	alive            int             // Instances, as last read.
	endpointsChanged <-chan struct{} // Closed when alive may have changed; nil: it was never read.
}

// countAlive is how many instances a revision has. It is read again only if that may have
// changed.
func (r *record) countAlive(c Cluster, s *subject) int {
	select {
	case <-r.endpointsChanged:
	default:
		if r.endpointsChanged != nil {
			return r.alive
		}
	}
	r.alive, r.endpointsChanged = alive(c, s.namespace, s.id)
	return r.alive
}

// refresh takes over the controller's latest view. The caller holds mu.
func (a *Autoscaler) refresh() {
	v := a.Services()
	if v == a.view || v == nil {
		return
	}
	a.view = v
	all := make([]*record, 0, len(a.all))
	for _, s := range v.Services {
		for i := range s.Revisions {
			all = append(all, a.record(s, &s.Revisions[i]))
		}
	}
	a.all = all
	if len(all) < len(a.records) {
		a.forget()
	}
}

// record is the record of a revision, made or renewed. The caller holds mu.
func (a *Autoscaler) record(s *wadi.Stored, rev *wadi.Revision) *record {
	r := a.records[rev.ID]
	if r == nil {
		d := s.State.Revisions[rev.ID].Deciders
		r = &record{decider: d, remembered: d, count: -1, loaded: -1, byHandChecks: byHandTries}
		a.records[rev.ID] = r
	}
	if before := r.subject.Load(); before == nil || before.stored != s {
		r.subject.Store(newSubject(s, rev, before))
	}
	return r
}

// forget drops the records of revisions that are gone. The caller holds mu.
func (a *Autoscaler) forget() {
	there := make(map[*record]bool, len(a.all))
	for _, r := range a.all {
		there[r] = true
	}
	var gone []string
	for id, r := range a.records {
		if !there[r] {
			delete(a.records, id)
			gone = append(gone, id)
			delete(a.draining, id)
		}
	}
	a.History.Forget(gone)
}
