package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/calendar"
	"github.com/wadi-run/wadi/scheduler"
)

// evaluate decides about one revision and carries the decision out.
func (a *Autoscaler) evaluate(ctx context.Context, s *Stored, r *wadi.Revision, m *memory) error {
	job := a.Cluster.Job(r.ID)
	st := s.State.Revisions[r.ID]
	if s.Deleting || !job.Running() || st.Phase == "" {
		return nil // The controller's business.
	}
	alive := alive(a.Cluster, r.ID)
	m.busy.Lock()
	defer m.busy.Unlock()
	a.noteCount(ctx, s, r, job, m)
	a.noteHold(s, r, m)
	if bounds := a.bounds(s, r, st.Phase, job, alive, m); alive == 0 && scheduler.AtRest(&bounds) {
		return nil // Waking is the activators' alone: one wake, whoever leads.
	}

	in := a.input(s, r, st.Phase, job, alive, m)
	d, next := scheduler.Evaluate(in)
	if lowers := scheduler.Change(&d) && d.Desired < d.Count; lowers || scheduler.Change(&d) && m.toAsk > 0 {
		if lowers { // What an open poll has not told yet must be known before instances go.
			a.Measure.Confirm(ctx, r.ID)
		}
		a.askWhoScaled(ctx, s, r, job, m)
		in = a.input(s, r, st.Phase, job, alive, m)
		d, next = scheduler.Evaluate(in)
		if lowers && scheduler.Change(&d) && m.toAsk > 0 {
			d.WhyNot = "who set the present count is not known yet"
		}
	}
	err := a.carryOut(ctx, s, r, job, &d, in.Loads.Concurrency.End)
	if worthStoring(next, m.stored) || d.Desired != m.wanted {
		a.Remember(r.ID, next, d.Desired)
		m.stored = next
	}
	m.decider, m.wanted = next, d.Desired
	if d.Carried {
		m.count = d.Desired
	}
	a.Decisions.Add(d)
	a.Metrics.decided(d.Rule)
	return err
}

// panicStep is how far the moment of panic may move before it is stored again.
const panicStep = 10 * time.Second

// worthStoring tells changes that a next leader has to know from a panic that is
// merely prolonged.
func worthStoring(next, stored wadi.Deciders) bool {
	if len(next) != len(stored) {
		return true
	}
	for m, d := range next {
		was, ok := stored[m]
		if !ok || d.Started != was.Started || d.HighestInPanic != was.HighestInPanic || !slices.Equal(d.Delay, was.Delay) {
			return true
		}
		if d.PanicSince.IsZero() != was.PanicSince.IsZero() || d.PanicSince.Sub(was.PanicSince).Abs() >= panicStep {
			return true
		}
	}
	return false
}

// bounds is what an evaluation is made from, but for what has to be measured.
func (a *Autoscaler) bounds(s *Stored, r *wadi.Revision, phase wadi.Phase, job scheduler.JobState, alive int, m *memory) scheduler.EvalInput {
	if sc := &s.Service.Scale; m.clock == nil || !m.clock.Of(sc.Schedules) {
		m.clock, _ = calendar.New(sc.Schedules) // They were checked when they were submitted.
	}
	return scheduler.EvalInput{
		Revision: r.ID, Now: time.Now(),
		Scaling: &s.Service.Scale, Calendar: m.clock, ConcurrencyLimit: r.Spec.ConcurrencyLimit, Ceiling: a.Ceiling,
		Routed: scheduler.Routed(&s.Service, &s.Route, r.ID, s.Latest, phase),
		Failed: phase == wadi.Failed, WasReady: phase != wadi.Pending,
		Count: job.Count, Raised: m.raised, Starting: max(alive, job.Count), Hold: holdOf(s, r.ID), ByHandUntil: m.hold,
		Deciders: m.decider,
	}
}

func (a *Autoscaler) input(s *Stored, r *wadi.Revision, phase wadi.Phase, job scheduler.JobState, alive int, m *memory) scheduler.EvalInput {
	in := a.bounds(s, r, phase, job, alive, m)
	in.Ready, in.ReadyKnown = min(a.Measure.ReadyCount(r.ID), alive), a.Measure.ReadyKnown(r.ID)
	in.Starting -= in.Ready
	in.Loads = a.loads(s, r)
	in.WayBack, in.WhyStranded = a.WayBack(s.Service.Name)
	return in
}

// loads reads what the service is scaled by, and the requests, which decide zero.
func (a *Autoscaler) loads(s *Stored, r *wadi.Revision) (l scheduler.Loads) {
	sc := &s.Service.Scale
	window, panicking := sc.Window.D(), scheduler.PanicWindow(sc.Window.D(), sc.PanicWindowPercent)
	l.Concurrency = a.Measure.Averages(r.ID, wadi.Concurrency, window, panicking)
	for _, m := range sc.Metrics {
		if m.Metric != wadi.Concurrency {
			*l.Of(m.Metric) = a.Measure.Averages(r.ID, m.Metric, window, panicking)
		}
	}
	return l
}

// carryOut sets the count. measured is the end of what the decision was made from.
func (a *Autoscaler) carryOut(ctx context.Context, s *Stored, r *wadi.Revision, job scheduler.JobState, d *wadi.Decision, measured time.Time) error {
	if !scheduler.Change(d) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, actionTimeout)
	defer cancel()
	if !measured.IsZero() {
		a.Metrics.late.Observe(time.Since(measured).Seconds())
	}
	index, err := a.Nomad.Scale(ctx, s.Service.Namespace, r.ID, d.Desired, job.Index, d.Reason)
	if errors.Is(err, wadi.ErrConflict) {
		d.WhyNot = "somebody changed the job at the same time; decided anew"
		a.Metrics.scales.WithLabelValues(direction(*d), "conflict").Inc()
		return nil
	} else if err != nil {
		d.WhyNot = err.Error()
		a.Metrics.scales.WithLabelValues(direction(*d), "error").Inc()
		return fmt.Errorf("scale %s from %d to %d: %w", r.ID, d.Count, d.Desired, err)
	}
	a.Owned.Add(r.ID, index)
	d.Carried = true
	a.Metrics.scales.WithLabelValues(direction(*d), "ok").Inc()
	a.Log.Info("scaled", "revision", r.ID, "from", d.Count, "to", d.Desired, "rule", d.Rule, "reason", d.Reason)
	a.Events.Add(s.Service.Name, r.ID, "Scaled", fmt.Sprintf("%d to %d: %s", d.Count, d.Desired, d.Reason))
	return nil
}

func direction(d wadi.Decision) string {
	if d.Desired < d.Count {
		return "down"
	}
	return "up"
}
