package scheduler

import (
	"cmp"
	"fmt"
	"math"
	"time"

	"github.com/wadi-run/wadi"
)

// bound keeps the count between the revision's bounds. The upper one wins.
func bound(in *EvalInput, d *wadi.Decision) {
	if floor := d.Floor; d.Desired < floor.Count {
		set(d, floor.Count, floor.By, d.Reason+"; "+boundReason(floor))
	}
	if top := topOf(in); d.Desired > top {
		set(d, top, d.Ceiling.By, d.Reason+"; "+boundReason(d.Ceiling))
	}
}

func boundReason(b wadi.Bound) string {
	n := instances(b.Count)
	switch b.By {
	case RuleInitial:
		return fmt.Sprintf("a new revision begins with %s (initial)", n)
	case RuleSchedule:
		return fmt.Sprintf("but schedule %s asks for at least %d: %s", b.Name, b.Count, n)
	case RuleCeiling:
		return fmt.Sprintf("but the agent allows at most %d (limits.max_instances): %s", b.Count, n)
	}
	return fmt.Sprintf("but %s is %d: %s", b.By, b.Count, n)
}

// floorOf is the lower bound of a routed revision, and which rule it comes from;
// zero if there is none.
func floorOf(in *EvalInput) wadi.Bound {
	b := wadi.Bound{Count: in.Scaling.Min, By: RuleMin}
	if f, ok := in.Calendar.At(in.Now); ok && f.Min > b.Count {
		b = wadi.Bound{Count: f.Min, By: RuleSchedule, Name: f.Name, Until: f.Until}
	}
	if !in.WasReady && in.Scaling.Initial > b.Count {
		b = wadi.Bound{Count: in.Scaling.Initial, By: RuleInitial}
	}
	if b.Count = min(b.Count, topOf(in)); b.Count <= 0 {
		return wadi.Bound{}
	}
	return b
}

// ceilingOf is the upper bound; zero if there is none.
func ceilingOf(in *EvalInput) wadi.Bound {
	switch top := in.Scaling.Max; {
	case top > 0 && (in.Ceiling <= 0 || top <= in.Ceiling):
		return wadi.Bound{Count: top, By: RuleMax}
	case in.Ceiling > 0:
		return wadi.Bound{Count: in.Ceiling, By: RuleCeiling}
	}
	return wadi.Bound{}
}

func topOf(in *EvalInput) int {
	if top := ceilingOf(in).Count; top > 0 {
		return top
	}
	return math.MaxInt
}

// hold puts what somebody asked for in place of what the load wants, even where
// nothing is known of the load. It bends neither the upper bound nor the rule that
// no request loses its instance; and as callers do not reach a revision that is
// not routed, nor one that has failed, it does not concern those.
func hold(in *EvalInput, d *wadi.Decision) {
	if !in.Hold.Active(in.Now) || !in.Routed || in.Failed {
		return
	}
	n := min(max(0, in.Hold.Count), topOf(in))
	held := fmt.Sprintf("held at %d for %s more", in.Hold.Count, span(in.Hold.Until.Sub(in.Now)))
	if in.Hold.Who != "" {
		held += " by " + in.Hold.Who
	}
	if d.Valid {
		held += fmt.Sprintf(" (the load wants %d)", d.Wanted)
	}
	d.Valid, d.HoldUntil = true, in.Hold.Until
	switch {
	case n < in.Hold.Count:
		set(d, n, d.Ceiling.By, held+"; "+boundReason(d.Ceiling))
	case n > 0 || in.Count == 0:
		set(d, n, RuleHold, held+": "+instances(n))
	case !in.Raised.IsZero() && in.Loads.Concurrency.End.Before(in.Raised.Add(time.Second)):
		// Whoever woke it is not measured yet.
		set(d, in.Count, RuleFresh, held+"; but it was woken since: stays at "+instances(in.Count))
	case in.Loads.Concurrency.Idle < atRest:
		set(d, 1, RuleIdle, held+"; but requests may be in flight: keeps 1 instance")
	case !in.WayBack && in.WasReady:
		set(d, 1, RuleNoWayBack, held+"; but "+whyStranded(in)+": keeps 1 instance")
	default:
		set(d, 0, RuleHold, held+": 0 instances")
	}
}

// atRest is how long the sources of a revision without traffic must report
// nothing: one second that all of them have completed.
const atRest = time.Second

// idleNeeded is for how long no request must come before zero.
func idleNeeded(in *EvalInput) time.Duration {
	return in.Scaling.Window.D() + in.Scaling.ZeroGrace.D()
}

// leaveToZero permits zero only after the idle time and with a way back. It
// never raises a count of zero.
func leaveToZero(in *EvalInput, d *wadi.Decision) {
	requests := &in.Loads.Concurrency
	idle := requests.Idle
	stranded := !in.WayBack && in.WasReady
	if !in.Routed && idle >= atRest && !stranded {
		set(d, 0, RuleUnrouted, "no traffic goes to it, and nothing is in flight: 0 instances")
		return
	}
	if d.Desired > 0 || in.Count == 0 {
		return
	}
	need := idleNeeded(in)
	switch {
	case !in.Routed && idle >= atRest:
		// As long as the new route is not carried callers may be led here.
		set(d, 1, RuleNoWayBack, "no traffic is to go to it, but "+whyStranded(in)+": keeps 1 instance")
	case !in.Routed:
		set(d, 1, RuleIdle, "no traffic goes to it, but requests are in flight: keeps 1 instance")
	case idle < need && requests.Partial:
		set(d, 1, RulePartial, "idle, but not every source has reported: keeps 1 instance")
	case idle < need:
		set(d, 1, RuleIdle, fmt.Sprintf("no request for %s, zero after %s: keeps 1 instance", span(idle), span(need)))
	case !in.WayBack:
		set(d, 1, RuleNoWayBack, "no way back from zero: "+whyStranded(in)+": keeps 1 instance")
	default:
		set(d, 0, RuleZero, fmt.Sprintf("no request for %s: 0 instances", span(idle)))
	}
}

// zeroAt is when zero will be permitted if no request comes, and the zero time if
// it is not known, or something else holds the instances.
func zeroAt(in *EvalInput, d *wadi.Decision) time.Time {
	held := in.Hold.Active(in.Now)
	if in.Count == 0 || !in.Routed || in.Failed || !in.WayBack || !d.Valid || d.Floor.Count > 0 || held {
		return time.Time{}
	}
	return in.Now.Add(max(0, idleNeeded(in)-in.Loads.Concurrency.Idle))
}

func whyStranded(in *EvalInput) string {
	return cmp.Or(in.WhyStranded, "no activator could wake it")
}
