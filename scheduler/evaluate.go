package scheduler

import (
	"fmt"
	"math"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/calendar"
)

// EvalInput is what one revision's evaluation is made from.
type EvalInput struct {
	Revision string
	Now      time.Time

	Scaling          *wadi.Scaling      // The service's present one.
	Calendar         *calendar.Calendar // Of its schedules; nil: none.
	ConcurrencyLimit int                // The revision's; 0 is none.
	Ceiling          int                // The agent's bound of instances; 0 is none.

	Routed   bool // A traffic target or tag names it, or it is the newest and may still become ready.
	Failed   bool // It did not become ready in time.
	WasReady bool // It was ready once.

	WayBack     bool   // From zero, a request would wake it.
	WhyStranded string // Why there is no way back.

	Count      int       // In Nomad.
	Raised     time.Time // When Count was last raised, by whomever; zero if not lately.
	Ready      int       // Instances that answer as ready.
	ReadyKnown bool
	Starting   int // Placed or asked for, and not ready.
	Loads      Loads

	Migrating           int  // Instances on nodes that are drained, or that Nomad moves already.
	MigrationHasNoPlace bool // There is no place for one more.

	Start       Start
	StartFailed bool          // Nothing of it is alive, and Nomad says why.
	Progress    time.Duration // How long a start may take: the revision's timeout.progress.

	Hold        wadi.Hold // What somebody asked for; zero: nothing.
	ByHandUntil time.Time // A count set by hand in Nomad stands until then; zero: none was.
	Deciders    wadi.Deciders
}

// Loads is what was measured, by metric: that of each of the scaling's metrics,
// and always that of concurrency, by which zero is decided.
type Loads struct {
	Concurrency, RPS, CPU, Memory Averages
}

// Of is the load by a metric, to read or to set.
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

// Evaluate decides how many instances a revision should have: [Decide] for each
// metric, and what comes after it. It returns the decision and the memory to pass
// next time, which holds unbounded values. An evaluation may be repeated with the
// old memory and newer data, as is done before a count is lowered.
//
// The decision's Desired is absolute and meant for a count that includes what is
// starting: carried out or not, one need raises it once. See [Change].
func Evaluate(in EvalInput) (wadi.Decision, wadi.Deciders) {
	var e Evaluation
	e.Evaluate(&in)
	e.Decision.Reason = e.Explanation.String()
	return e.Decision, e.Deciders
}

// Evaluation is room for one evaluation after the other, which needs no memory of
// its own while nothing changes. What one leaves is good until the next.
type Evaluation struct {
	Decision    wadi.Decision // But for its reason, which Words tell.
	Explanation Explanation
	Deciders    wadi.Deciders
	Changed     bool // Deciders are not those that were passed in.

	base    int // What is wanted for certain, whatever stays because something is not known.
	metrics perMetric
}

// Evaluate does what [Evaluate] does.
func (e *Evaluation) Evaluate(in *EvalInput) {
	d, l := &e.Decision, &e.metrics
	e.base = 0
	*d = wadi.Decision{
		Time: in.Now, Revision: in.Revision, Ready: in.Ready, Starting: in.Starting, Count: in.Count, Desired: in.Count, Times: 1,
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
	e.hold(in)
	e.addForMigration(in)
	d.ZeroAt, d.StartUntil = zeroAt(in, d), startUntil(in)
	explainBlocked(in, d)
	e.Deciders, e.Changed = memorise(in.Deciders, l.memory)
}

// set decides, whatever was decided before.
func (e *Evaluation) set(n int, rule string, why clause) {
	e.Explanation = Explanation{}
	e.also(n, rule, why)
}

// also decides because of something besides.
func (e *Evaluation) also(n int, rule string, why clause) {
	e.Decision.Desired, e.Decision.Rule = n, rule
	e.Explanation.add(why)
}

// Change reports whether a decision is to be carried out: the count becomes
// Desired. It is a lowering if Desired is less than Count.
func Change(d *wadi.Decision) bool {
	return d.Valid && d.WhyNot == "" && d.Desired != d.Count
}

// Unknown reports whether a count stays only because not enough is known.
func Unknown(d *wadi.Decision) bool { return d.Rule == RulePartial || d.Rule == RuleInvalid }

// AtRest reports whether a revision without instances stays so whatever is
// measured: waking is the activators' alone. Of in, it needs neither loads nor memory.
func AtRest(in *EvalInput) bool {
	held := in.Hold.Active(in.Now) && in.Hold.Count > 0
	return in.Count == 0 && in.Starting == 0 && (!in.Routed || !held && floorOf(in).Count == 0)
}

// unmeasured keeps the count. But the instances that a new revision begins with
// need no measuring: it gets them, or it would never become ready.
func (e *Evaluation) unmeasured(in *EvalInput) {
	e.set(in.Count, RuleInvalid, e.metrics.why)
	if floor := &e.Decision.Floor; floor.By == RuleInitial && in.Count < floor.Count {
		e.Decision.Valid = true
		e.set(floor.Count, RuleInitial, boundReason(floor))
	}
}

// keepWhileUncertain takes a lowering back that is decided on data with holes, or on
// data older than the last raise, whose reason they can't hold.
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

// explainBlocked says why a change is not carried out.
func explainBlocked(in *EvalInput, d *wadi.Decision) {
	byHand := in.Now.Before(in.ByHandUntil)
	if byHand && d.HoldUntil.IsZero() {
		d.HoldUntil = in.ByHandUntil
	}
	switch {
	case d.Desired == in.Count:
	case in.Scaling.DryRun:
		d.WhyNot = "dry_run"
	case byHand:
		d.WhyNot = fmt.Sprintf("the count was set by hand in Nomad and stands for %s more", span(in.ByHandUntil.Sub(in.Now)))
	}
}

// finite keeps what JSON can't write out of a decision.
func finite(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return min(max(v, -math.MaxFloat64), math.MaxFloat64)
}
