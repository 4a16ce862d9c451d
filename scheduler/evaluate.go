package scheduler

import (
	"fmt"
	"math"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/calendar"
)

// EvalInput is what one evaluation of a revision is made from.
type EvalInput struct {
	Revision string
	Now      time.Time

	Scaling          *wadi.Scaling      // The service's current scaling.
	Calendar         *calendar.Calendar // The service's schedules; nil: none.
	ConcurrencyLimit int                // The revision's limit; 0: none.
	Ceiling          int                // The agent's limit of instances; 0: none.

	Warming  int  // Instances that its share of the traffic needs, which grows or has just grown; 0: the load decides.
	Routed   bool // A traffic target or tag names it, or it is the latest and may still become ready.
	Failed   bool // It did not become ready in time.
	WasReady bool // It was ready once.

	AwaitsImages bool // It does not start by itself until its images are on the nodes.

	Wakeable       bool   // From zero, a request would wake it.
	WhyNotWakeable string // Why it is not wakeable.

	Count      int       // The job's count in Nomad.
	Raised     time.Time // When Count was last raised, by any writer; zero: not lately.
	Ready      int       // Ready instances.
	ReadyKnown bool
	Starting   int // Instances placed or requested that are not ready.
	Loads      Loads

	Migrating           int  // Instances on draining nodes, or that Nomad already migrates.
	MigrationHasNoPlace bool // No node fits one more instance.

	PullPause PullPause // Since its image could not be had; zero: none.
	Pulling   int       // Instances whose images are pulled now.
	WithImage int       // See the function of that name.
	WithTasks int       // See the function of that name.

	Start       Start
	StartFailed bool          // No instance is alive, and Nomad says why.
	Progress    time.Duration // How long a start may take: the revision's timeout.progress.

	Override    wadi.Override // A count that a user asked for; zero: none.
	ByHandUntil time.Time     // A count set by hand in Nomad is kept until then; zero: none.
	Deciders    wadi.Deciders
}

// Loads are the measured loads, one for each metric of the scaling. Concurrency is always
// among them: it decides about zero.
type Loads struct {
	Concurrency, RPS, CPU, Memory Averages
}

// Of is the load of one metric, to read or to set.
func (l *Loads) Of(m wadi.Metric) *Averages {
	switch m {
	case wadi.RPS:
		return &l.RPS
	case wadi.CPU:
		return &l.CPU
	case wadi.Memory:
		return &l.Memory
	}
	return &l.Concurrency
}

// Evaluate decides how many instances a revision should have. It asks [Decide] for each
// metric, and then applies the service's rules. It returns the decision and the memory to
// pass next time, which holds unbounded values. An evaluation may be repeated with the old
// memory and newer data; the autoscaler does so before it lowers a count.
//
// The decision's Desired is an absolute count that includes starting instances. So one
// need raises the count once, however often it is evaluated. See [Change].
func Evaluate(in EvalInput) (wadi.Decision, wadi.Deciders) {
	var e Evaluation
	e.Evaluate(&in)
	e.Decision.Reason = e.Explanation.String()
	return e.Decision, e.Deciders
}

// Evaluation can be reused for one evaluation after the other, and allocates nothing while
// nothing changes. Its result is valid until the next one.
type Evaluation struct {
	Decision    wadi.Decision // Without its Reason: see Explanation.
	Explanation Explanation   // Becomes the Reason when it is read.
	Deciders    wadi.Deciders
	Changed     bool // Deciders differ from those that were passed in.

	base    int // The desired count before missing data keep it from being lowered.
	metrics perMetric
}

// Evaluate does what the function [Evaluate] does, except for the Reason.
func (e *Evaluation) Evaluate(in *EvalInput) {
	d, l := &e.Decision, &e.metrics
	e.base = 0
	*d = wadi.Decision{
		Time: in.Now, Revision: in.Revision, Ready: in.Ready, Starting: in.Starting, Pulling: in.Pulling, Count: in.Count, Desired: in.Count, Times: 1,
	}
	if in.Routed {
		d.Floor = floorOf(in)
	}
	d.Ceiling = ceilingOf(in)
	l.decide(in)
	l.fill(d)
	switch {
	case in.Failed:
		d.Valid, d.Floor = true, wadi.Bound{}
		e.set(0, RuleFailed, clause{kind: clauseFailed})
	case l.winnerIndex < 0:
		e.unmeasured(in)
	default:
		d.Valid, d.Wanted = true, l.winner.Desired
		d.Desired, d.Rule = l.winner.Desired, l.winner.Rule
		e.Explanation = Explanation{load: l.reason}
		e.bound(in)
		e.scaleToZero(in)
		e.base = d.Desired
		e.keepWhileUncertain(in)
	}
	e.override(in)
	e.addForMigration(in)
	e.pause(in)
	d.ZeroAt, d.StartUntil = zeroAt(in, d), startUntil(in)
	explainBlocked(in, d)
	e.Deciders, e.Changed = memorise(in.Deciders, l.memory)
}

// Loaded is how many instances the load alone needs; -1: that is not known.
func (e *Evaluation) Loaded() int {
	if e.metrics.winnerIndex < 0 {
		return -1
	}
	return e.metrics.winner.Desired
}

// set replaces the decision and its explanation.
func (e *Evaluation) set(n int, rule string, why clause) {
	e.Explanation = Explanation{}
	e.also(n, rule, why)
}

// also changes the decision and adds to its explanation.
func (e *Evaluation) also(n int, rule string, why clause) {
	e.Decision.Desired, e.Decision.Rule = n, rule
	e.Explanation.add(why)
}

// Change reports whether the decision changes the count to Desired. It lowers the count if
// Desired is less than Count.
func Change(d *wadi.Decision) bool {
	return d.Valid && d.WhyNot == "" && d.Desired != d.Count
}

// Unknown reports whether the count stays only because data are missing.
func Unknown(d *wadi.Decision) bool { return d.Rule == RulePartial || d.Rule == RuleInvalid }

// AtRest reports whether a revision without instances stays at zero whatever the load:
// only activators wake it. It reads neither the loads nor the memory of in.
func AtRest(in *EvalInput) bool {
	overridden := in.Override.Active(in.Now) && in.Override.Count > 0
	return in.Count == 0 && in.Starting == 0 && (!in.Routed || !overridden && floorOf(in).Count == 0)
}

// unmeasured keeps the count, as the load is not known. A new revision still gets its
// initial instances: without them it would never become ready. And one whose share is to grow
// gets those for it: it has no load before.
func (e *Evaluation) unmeasured(in *EvalInput) {
	e.set(in.Count, RuleInvalid, e.metrics.why)
	if floor := &e.Decision.Floor; (floor.By == RuleInitial || floor.By == RuleWarming) && in.Count < floor.Count {
		e.Decision.Valid = true
		e.set(floor.Count, floor.By, boundReason(floor))
	}
}

// keepWhileUncertain undoes a lowering that is based on incomplete data, or on data from
// before the last raise: the load behind that raise is not in them yet.
func (e *Evaluation) keepWhileUncertain(in *EvalInput) {
	switch l := &e.metrics; {
	case e.Decision.Desired >= in.Count || e.Decision.Rule == RuleUnrouted:
	case l.missing.kind != clauseNone:
		l.missing.n = in.Count
		e.also(in.Count, RulePartial, l.missing)
	case !in.Raised.IsZero() && l.end.Before(in.Raised.Add(time.Second)):
		e.also(in.Count, RuleFresh, clause{kind: clauseFresh, n: in.Count})
	}
}

// explainBlocked says why a change is not executed.
func explainBlocked(in *EvalInput, d *wadi.Decision) {
	byHand := in.Now.Before(in.ByHandUntil)
	if byHand && d.OverrideUntil.IsZero() {
		d.OverrideUntil = in.ByHandUntil
	}
	switch {
	case d.Desired == in.Count:
	case in.Scaling.DryRun:
		d.WhyNot = "dry_run"
	case byHand:
		d.WhyNot = fmt.Sprintf("the count was set by hand in Nomad and is kept for %s more", span(in.ByHandUntil.Sub(in.Now)))
	}
}

// finite replaces NaN and infinities, which JSON can't represent.
func finite(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return min(max(v, -math.MaxFloat64), math.MaxFloat64)
}
