package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// workspace is reused by one evaluation after the other.
type workspace struct {
	in scheduler.EvalInput
	scheduler.Evaluation

	rule  string             // Of the last decision, as many in a row have the same.
	count prometheus.Counter // Of the decisions by rule; nil: there was none.
}

// errWouldWait says that an evaluation would have to wait for Nomad or for instances.
var errWouldWait = errors.New("it would have to wait")

// evaluate decides about one revision and executes the decision. If it may not wait and
// would have to, it fails with errWouldWait and has not decided. The caller holds r.mu.
func (a *Autoscaler) evaluate(ctx context.Context, r *record, e *workspace, mayWait bool) error {
	s := r.subject.Load()
	if s.excluded || !a.Cluster.Usable(s.namespace) {
		return nil
	}
	job := a.Cluster.Job(s.namespace, s.id)
	if !job.Running() {
		a.forgetDraining(r, s)
		return nil // Only the controller acts on it.
	}
	if a.countChanged(r, s, job) && !mayWait {
		return errWouldWait
	}
	a.noteCount(ctx, r, s, job)
	now := time.Now()
	a.noteOverride(r, s, now)
	alive := r.countAlive(a.Cluster, s)
	r.noteFewer(alive, job.Count, now)
	a.fillInput(&e.in, r, s, job, alive, now)
	a.fillPulls(&e.in, s)
	if alive == 0 && scheduler.AtRest(&e.in) {
		a.forgetDraining(r, s)
		return nil // Only activators wake: one wake, whichever agent leads.
	}
	a.fillLoads(&e.in, r, s, alive)
	e.Evaluate(&e.in)
	if change := scheduler.Change(&e.Decision); change || len(r.draining) > 0 {
		if !mayWait {
			return errWouldWait
		}
		if change {
			a.reevaluate(ctx, r, s, job, alive, e)
		}
	}
	return a.finish(ctx, r, s, job, e)
}

// reevaluate decides again about a count that is to change, by what has to be asked for
// first.
func (a *Autoscaler) reevaluate(ctx context.Context, r *record, s *subject, job scheduler.JobState, alive int, e *workspace) {
	lowers := e.Decision.Desired < e.Decision.Count
	if !lowers && r.byHandChecks == 0 {
		return
	}
	if lowers && e.Decision.Rule != scheduler.RulePull { // What an open poll has not reported yet must be known before instances stop.
		a.Loads.Confirm(ctx, s.id)
	}
	a.checkScaledByHand(ctx, r, s, job)
	a.fillInput(&e.in, r, s, job, alive, time.Now())
	a.fillPulls(&e.in, s)
	a.fillLoads(&e.in, r, s, alive)
	e.Evaluate(&e.in)
	// A count of zero stands as well: a request that waits for an instance wakes it all the same.
	if (lowers || job.Count == 0) && scheduler.Change(&e.Decision) && r.byHandChecks > 0 {
		e.Decision.WhyNot = "it is not known yet whether the present count was set by hand"
	}
}

// finish executes a decision and keeps it.
func (a *Autoscaler) finish(ctx context.Context, r *record, s *subject, job scheduler.JobState, e *workspace) error {
	d, next := &e.Decision, e.Deciders
	err := a.execute(ctx, r, s, job, e)
	if d.Desired != r.wanted || e.Changed && worthRemembering(next, r.remembered) {
		a.Memory.Put(s.id, Remembered{Deciders: next, Desired: d.Desired})
		r.remembered = next
	}
	if n := e.Loaded(); n != r.loaded {
		a.Memory.SetLoaded(s.id, n)
		r.loaded = n
	}
	r.decider, r.wanted = next, d.Desired
	r.history = a.History.add(r.history, d, &e.Explanation)
	if e.count == nil || e.rule != d.Rule {
		e.rule, e.count = d.Rule, a.Metrics.ofRule(d.Rule)
	}
	e.count.Inc()
	return err
}

// panicStep is how far the moment of panic may move before it is stored again.
const panicStep = 10 * time.Second

// worthRemembering reports whether a change has to be known to the next leader. A panic
// that is merely prolonged need not be.
func worthRemembering(next, stored wadi.Deciders) bool {
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

// fillInput fills in the input of an evaluation, except for what is measured.
func (a *Autoscaler) fillInput(in *scheduler.EvalInput, r *record, s *subject, job scheduler.JobState, alive int, now time.Time) {
	warming := 0
	if a.Warming != nil {
		warming = a.Warming(s.id)
	}
	*in = scheduler.EvalInput{
		Revision: s.id, Now: now, Warming: warming,
		Scaling: &s.scale, Calendar: s.calendar, ConcurrencyLimit: s.limit, Ceiling: a.Settings.Now().Ceiling,
		Routed: s.routed || warming > 0, Failed: s.failed, WasReady: s.wasReady, AwaitsImages: s.awaitsImages,
		Count: job.Count, Raised: r.raised, Starting: max(alive, job.Count), Override: s.override(now), ByHandUntil: r.byHandUntil,
		Deciders: r.decider,
	}
}

// fillPulls fills in what is known of the instances' images.
func (a *Autoscaler) fillPulls(in *scheduler.EvalInput, s *subject) {
	eps, _ := a.Cluster.Endpoints(s.namespace, s.id)
	in.PullPause, in.WithImage, in.WithTasks = scheduler.PullPauseAfter(eps), scheduler.WithImage(eps), scheduler.WithTasks(eps)
	for _, ep := range eps {
		if ep.Pull.Ongoing && !ep.Stopping {
			in.Pulling++
		}
	}
}

// fillLoads fills in what is measured: the metrics that the service is scaled by, and
// requests, which decide about zero.
func (a *Autoscaler) fillLoads(in *scheduler.EvalInput, r *record, s *subject, alive int) {
	in.Ready, in.ReadyKnown = a.Loads.Load(s.id, s.scale.Metrics, s.window, s.panicking, &in.Loads)
	in.Ready = min(in.Ready, alive)
	in.Starting -= in.Ready
	in.Wakeable, in.WhyNotWakeable = a.Wakeable(s.service)
	in.Migrating, in.MigrationHasNoPlace = a.migrating(r, s)
	r.start = r.start.Next(in.Now, in.Count, in.Ready, in.ReadyKnown)
	in.Start, in.Progress = r.start, s.startTimeout
	if alive == 0 && r.start.Ready.IsZero() {
		in.StartFailed = a.Cluster.Diagnosis(s.namespace, s.id).Reason != ""
	}
}

// execute sets the count, if it is to change, as far as it may change now.
func (a *Autoscaler) execute(ctx context.Context, r *record, s *subject, job scheduler.JobState, e *workspace) error {
	d := &e.Decision
	if !scheduler.Change(d) {
		if !r.keepsOrders(d, time.Now()) {
			a.cancelScaleDown(ctx, r, s, d.Count)
		}
		return nil
	}
	d.Reason = e.Explanation.String()
	if d.Desired > d.Count {
		a.cancelScaleDown(ctx, r, s, d.Count)
		return a.scale(ctx, r, s, job, e, d.Desired)
	}
	if d.Rule == scheduler.RulePull && d.Desired == 0 { // No instance has its image, so none has a request.
		a.forgetDraining(r, s)
		return a.scale(ctx, r, s, job, e, d.Desired)
	}
	plan := a.scaleDown(ctx, r, s, d.Count, d.Desired)
	var err error
	if plan.Count < d.Count {
		err = a.scale(ctx, r, s, job, e, plan.Count)
	}
	if d.WhyNot == "" {
		d.WhyNot = plan.WhyNot()
	}
	return err
}

// scale sets the count to n: the decided count, or one on the way down to it.
func (a *Autoscaler) scale(ctx context.Context, r *record, s *subject, job scheduler.JobState, e *workspace, n int) error {
	d := &e.Decision
	ctx, cancel := context.WithTimeout(ctx, actionTimeout)
	defer cancel()
	if measured := e.in.Loads.Concurrency.End; !measured.IsZero() {
		a.Metrics.signalToScale.Observe(time.Since(measured).Seconds())
	}
	index, err := a.Counts.Scale(ctx, s.namespace, s.id, n, job.Index, d.Reason)
	if errors.Is(err, wadi.ErrConflict) {
		d.WhyNot = "the job was changed at the same time; it is decided again"
		a.Metrics.scales.WithLabelValues(direction(d), "conflict").Inc()
		return nil
	} else if err != nil {
		d.WhyNot = err.Error()
		a.Metrics.scales.WithLabelValues(direction(d), "error").Inc()
		return fmt.Errorf("scale %s from %d to %d: %w", s.id, d.Count, n, err)
	}
	a.Owned.Scaled(s.id, job.Index, index)
	r.count, d.Executed = n, n == d.Desired
	a.Metrics.scales.WithLabelValues(direction(d), "ok").Inc()
	a.Log.Info("scaled", "revision", s.id, "from", d.Count, "to", n, "rule", d.Rule, "reason", d.Reason)
	a.Events.Add(s.service, s.id, EventScaled, fmt.Sprintf("%d to %d: %s", d.Count, n, d.Reason))
	return nil
}

func direction(d *wadi.Decision) string {
	if d.Desired < d.Count {
		return "down"
	}
	return "up"
}
