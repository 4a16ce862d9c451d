package control

import (
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/calendar"
	"github.com/wadi-run/wadi/scheduler"
)

// subject is what the decisions about one revision depend on: what was submitted, and
// what the controller made of it. It is made once per view and does not change.
type subject struct {
	id, service, namespace string

	scale             wadi.Scaling
	metric            [1]wadi.MetricTarget // Backs scale.Metrics where there is one: beside the rest, as both are read together.
	window, panicking time.Duration
	calendar          *calendar.Calendar // Of the schedules; nil: none.
	limit             int                // Requests at once in an instance; 0: none.
	startTimeout      time.Duration      // How long a start may take.
	maxRequest        time.Duration      // How long a request may take.

	excluded bool // Only the controller acts on it: it is not set up yet, or is being deleted.
	routed   bool
	failed   bool
	wasReady bool

	awaitsImages bool

	ownOverride, serviceOverride wadi.Override // The revision's, and the service's if it has most of the traffic.

	stored *wadi.Stored // What it was made from.
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
		awaitsImages: scheduler.AwaitsImages(&s.Service, s.Latest, r.ID, s.State.Revisions[r.ID]),
		ownOverride:  s.Overrides[r.ID], stored: s,
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
		su.calendar, _ = calendar.New(sc.Schedules) // Admission has checked them.
	}
	return su
}

// override is the one that applies; it may have ended. The zero value: none.
func (s *subject) override(now time.Time) wadi.Override {
	if s.ownOverride.Active(now) {
		return s.ownOverride
	}
	return s.serviceOverride
}
