package scheduler

import (
	"cmp"
	"fmt"
	"math"
	"time"

	"github.com/wadi-run/wadi"
)

// EvalInput is what one revision's evaluation is made from.
type EvalInput struct {
	Revision string
	Now      time.Time

	Scaling          wadi.Scaling // The service's present one.
	ConcurrencyLimit int          // The revision's; 0 is none.
	Ceiling          int          // The agent's bound of instances; 0 is none.

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
	Averages   Averages

	HoldUntil time.Time // A count set by hand stands until then; zero: none was.
	Decider   wadi.Decider
}

// Evaluate decides how many instances a revision should have: [Decide], and what
// comes after it. It returns the decision and the memory to pass next time, which
// holds unbounded values. An evaluation may be repeated with the old memory and
// newer data, as is done before a count is lowered.
//
// The decision's Desired is absolute and meant for a count that includes what is
// starting: carried out or not, one need raises it once. See [Change].
func Evaluate(in EvalInput) (wadi.Decision, wadi.Decider) {
	d := wadi.Decision{
		Time: in.Now, Revision: in.Revision,
		Stable: finite(in.Averages.Stable), Panic: finite(in.Averages.Panic), Coverage: in.Averages.Coverage,
		Ready: in.Ready, Starting: in.Starting, Count: in.Count, Desired: in.Count, Times: 1,
	}
	st := in.Decider
	switch why := invalid(in); {
	case in.Failed:
		d.Valid = true
		set(&d, 0, RuleFailed, "it did not become ready in time: 0 instances")
	case why != "":
		unmeasured(in, &d, why)
	default:
		var out Output
		out, st = Decide(settingsOf(in), in.Decider, Input{Stable: in.Averages.Stable, Panic: in.Averages.Panic, Ready: in.Ready}, in.Now)
		d.Valid, d.Panicking, d.Wanted = out.Valid, out.Panicking, out.Desired
		set(&d, out.Desired, out.Rule, out.Reason)
		bound(in, &d)
		leaveToZero(in, &d)
		keepUnlessKnown(in, &d)
	}
	carry(in, &d)
	return d, st
}

// Change reports whether a decision is to be carried out: the count becomes
// Desired. It is a lowering if Desired is less than Count.
func Change(d wadi.Decision) bool {
	return d.Valid && d.WhyNot == "" && d.Desired != d.Count
}

func set(d *wadi.Decision, n int, rule, reason string) {
	d.Desired, d.Rule, d.Reason = n, rule, reason
}

func settingsOf(in EvalInput) Settings {
	return SettingsOf(in.Scaling, in.ConcurrencyLimit, in.Routed)
}

// minCoverage is the share of a window that must be known.
const minCoverage = 0.5

// invalid says why nothing can be decided from what was measured, or nothing.
func invalid(in EvalInput) string {
	a := in.Averages
	switch {
	case !in.ReadyKnown:
		return "how many instances are ready is not known"
	case math.IsNaN(a.Stable) || math.IsNaN(a.Panic) || math.IsInf(a.Stable, 0) || math.IsInf(a.Panic, 0):
		return "the measured load is not a number"
	case a.Coverage < minCoverage:
		return fmt.Sprintf("only %.0f%% of the window is known", a.Coverage*100)
	}
	return ""
}

// unmeasured keeps the count. But the instances that a new revision begins with
// need no measuring: it gets them, or it would never become ready.
func unmeasured(in EvalInput, d *wadi.Decision, why string) {
	set(d, in.Count, RuleInvalid, why+": nothing changes")
	floor, rule := floorOf(in)
	if rule == RuleInitial && in.Count < floor {
		d.Valid = true
		set(d, floor, rule, boundReason(rule, floor))
	}
}

// bound keeps the count between the revision's bounds. The upper one wins.
func bound(in EvalInput, d *wadi.Decision) {
	if floor, rule := floorOf(in); d.Desired < floor {
		set(d, floor, rule, d.Reason+"; "+boundReason(rule, floor))
	}
	if top := topOf(in); d.Desired > top {
		set(d, top, RuleMax, d.Reason+"; "+boundReason(RuleMax, top))
	}
}

func boundReason(rule string, n int) string {
	if rule == RuleInitial {
		return fmt.Sprintf("a new revision begins with %s (initial)", instances(n))
	}
	return fmt.Sprintf("but %s is %d: %s", rule, n, instances(n))
}

// floorOf is the lower bound, and which rule it comes from.
func floorOf(in EvalInput) (int, string) {
	switch s := in.Scaling; {
	case !in.Routed:
		return 0, RuleMin
	case !in.WasReady && s.Initial > s.Min:
		return min(s.Initial, topOf(in)), RuleInitial
	default:
		return min(s.Min, topOf(in)), RuleMin
	}
}

func topOf(in EvalInput) int {
	top := math.MaxInt
	if in.Scaling.Max > 0 {
		top = in.Scaling.Max
	}
	if in.Ceiling > 0 {
		top = min(top, in.Ceiling)
	}
	return top
}

// atRest is how long the sources of a revision without traffic must report
// nothing: one second that all of them have completed.
const atRest = time.Second

// leaveToZero permits zero only after the idle time and with a way back. It
// never raises a count of zero.
func leaveToZero(in EvalInput, d *wadi.Decision) {
	idle := in.Averages.Idle
	stranded := !in.WayBack && in.WasReady
	if !in.Routed && idle >= atRest && !stranded {
		set(d, 0, RuleUnrouted, "no traffic goes to it, and nothing is in flight: 0 instances")
		return
	}
	if d.Desired > 0 || in.Count == 0 {
		return
	}
	need := in.Scaling.Window.D() + in.Scaling.ZeroGrace.D()
	switch {
	case !in.Routed && idle >= atRest:
		// As long as the new route is not carried callers may be led here.
		set(d, 1, RuleNoWayBack, "no traffic is to go to it, but "+whyStranded(in)+": keeps 1 instance")
	case !in.Routed:
		set(d, 1, RuleIdle, "no traffic goes to it, but requests are in flight: keeps 1 instance")
	case idle < need && in.Averages.Partial:
		set(d, 1, RulePartial, "idle, but not every source has reported: keeps 1 instance")
	case idle < need:
		set(d, 1, RuleIdle, fmt.Sprintf("no request for %s, zero after %s: keeps 1 instance", span(idle), span(need)))
	case !in.WayBack:
		set(d, 1, RuleNoWayBack, "no way back from zero: "+whyStranded(in)+": keeps 1 instance")
	default:
		set(d, 0, RuleZero, fmt.Sprintf("no request for %s: 0 instances", span(idle)))
	}
}

func whyStranded(in EvalInput) string {
	return cmp.Or(in.WhyStranded, "no activator could wake it")
}

// keepUnlessKnown takes a lowering back that is decided on data with holes, or on
// data older than the last raise, whose reason they can't hold.
func keepUnlessKnown(in EvalInput, d *wadi.Decision) {
	a := in.Averages
	switch {
	case d.Desired >= in.Count || d.Rule == RuleUnrouted:
	case a.Partial:
		set(d, in.Count, RulePartial, fmt.Sprintf("%s; but not every source has reported: stays at %d", d.Reason, in.Count))
	case !in.Raised.IsZero() && a.End.Before(in.Raised.Add(time.Second)):
		set(d, in.Count, RuleFresh, fmt.Sprintf("%s; but that was measured before it was raised: stays at %d", d.Reason, in.Count))
	}
}

// carry says why a change is not carried out.
func carry(in EvalInput, d *wadi.Decision) {
	switch {
	case d.Desired == in.Count:
	case in.Scaling.DryRun:
		d.WhyNot = "dry_run"
	case in.Now.Before(in.HoldUntil):
		d.WhyNot = fmt.Sprintf("the count was set by hand in Nomad and stands for %s more", span(in.HoldUntil.Sub(in.Now)))
	}
}

// finite keeps what JSON can't write out of a decision.
func finite(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return min(max(v, -math.MaxFloat64), math.MaxFloat64)
}
