package control

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/calendar"
	"github.com/wadi-run/wadi/scheduler"
)

// record is everything that the autoscaler keeps of one revision, found once and not
// by its ID in every pass. But for subject it is guarded by busy.
type record struct {
	subject atomic.Pointer[subject]
	mu      sync.Mutex // One evaluation of a revision at a time.

	decider       wadi.Deciders
	remembered    wadi.Deciders // As they were last put into the memory.
	wanted        int
	count         int       // When last seen, or set by this leader; -1: not seen yet.
	index         uint64    // Of the job, when count was seen.
	raised        time.Time // When the count was last seen to grow.
	start         scheduler.Start
	byHandUntil   time.Time                             // Until when a count that somebody set by hand stands.
	byHandChecks  int                                   // How often Nomad may still be asked who set the present count; 0: that is known, or given up.
	overrideUntil time.Time                             // Until when the last override that was seen lasts.
	history       *revisionHistory                      // Its decisions; nil: none yet.
	draining      map[string]scheduler.DrainingInstance // Instances that were told to go; replaced and not changed.

	migration        scheduler.Migration
	alive            int             // Instances, when read last.
	endpointsChanged <-chan struct{} // Closed when there may be others; nil: they were never read.
}

// subject is what was submitted of one revision and what the controller made of it,
// as far as is decided by it, resolved once and not changed any more.
type subject struct {
	id, service, namespace string

	scale             wadi.Scaling
	metric            [1]wadi.MetricTarget // Of scale, where there is one: beside the rest, as it is read with it.
	window, panicking time.Duration
	calendar          *calendar.Calendar // Of the schedules; nil: none.
	limit             int                // Requests at once in an instance; 0: none.
	startTimeout      time.Duration      // How long a start may take.
	maxRequest        time.Duration      // How long a request may take.

	excluded bool // The controller's business alone, as yet or by now.
	routed   bool
	failed   bool
	wasReady bool

	ownOverride, serviceOverride wadi.Override // The revision's, and the service's if it has most of the traffic.

	stored *wadi.Stored // That it was made from.
}

func newSubject(s *wadi.Stored, r *wadi.Revision, before *subject) *subject {
	phase := s.State.Revisions[r.ID].Phase
	sc := s.Service.Scale
	su := &subject{
		id: r.ID, service: s.Service.Name, namespace: s.Service.Namespace,
		scale: sc, window: sc.Window.D(), panicking: scheduler.PanicWindow(sc.Window.D(), sc.PanicWindowPercent),
		limit: r.Spec.ConcurrencyLimit, startTimeout: r.Spec.Timeout.Progress.D(), excluded: s.Deleting || phase == "",
		routed: scheduler.Routed(&s.Service, &s.Route, r.ID, s.Latest, phase),
		failed: phase == wadi.Failed, wasReady: phase != wadi.Pending,
		ownOverride: s.Overrides[r.ID], stored: s,
	}
	if su.maxRequest = r.Spec.Timeout.Request.D(); su.maxRequest <= 0 {
		su.maxRequest = defaultMaxRequest
	}
	if h, ok := s.Overrides[""]; ok && s.Route.Main() == r.ID {
		su.serviceOverride = h
	}
	if len(sc.Metrics) == 1 {
		su.metric[0] = sc.Metrics[0]
		su.scale.Metrics = su.metric[:]
	}
	if before != nil && before.calendar != nil && before.calendar.Of(sc.Schedules) {
		su.calendar = before.calendar
	} else if len(sc.Schedules) > 0 {
		su.calendar, _ = calendar.New(sc.Schedules) // They were checked when they were submitted.
	}
	return su
}

// override is the one that counts; it may have ended. The zero value: none.
func (s *subject) override(now time.Time) wadi.Override {
	if s.ownOverride.Active(now) {
		return s.ownOverride
	}
	return s.serviceOverride
}

// countAlive is how many instances a revision has, looked up if that may have changed.
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

// refresh takes in what the controller knows by now. The caller holds mu.
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

// record is that of a revision, made or renewed. The caller holds mu.
func (a *Autoscaler) record(s *wadi.Stored, rev *wadi.Revision) *record {
	r := a.records[rev.ID]
	if r == nil {
		d := s.State.Revisions[rev.ID].Deciders
		r = &record{decider: d, remembered: d, count: -1, byHandChecks: byHandTries}
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
