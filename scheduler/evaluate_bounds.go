package scheduler

import (
	"cmp"
	"math"
	"time"

	"github.com/wadi-run/wadi"
)

// bound keeps the count between the revision's bounds. The upper one wins.
func (e *Evaluation) bound(in *EvalInput) {
	d := &e.Decision
	if d.Desired < d.Floor.Count {
		e.also(d.Floor.Count, d.Floor.By, boundReason(&d.Floor))
	}
	if top := topOf(in); d.Desired > top {
		e.also(top, d.Ceiling.By, boundReason(&d.Ceiling))
	}
}

func boundReason(b *wadi.Bound) clause {
	p := clause{kind: clauseBound, n: b.Count, text: b.By}
	switch b.By {
	case RuleInitial:
		p.kind = clauseInitial
	case RuleSchedule:
		p.kind, p.text = clauseSchedule, b.Name
	case RuleCeiling:
		p.kind = clauseCeiling
	}
	return p
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
func (e *Evaluation) hold(in *EvalInput) {
	if !in.Hold.Active(in.Now) || !in.Routed || in.Failed {
		return
	}
	d, n := &e.Decision, min(max(0, in.Hold.Count), topOf(in))
	held := clause{kind: clauseOverride, n: in.Hold.Count, m: unknown, a: in.Hold.Until.Sub(in.Now), text: in.Hold.Who}
	if d.Valid {
		held.m = d.Wanted
	}
	d.Valid, d.HoldUntil, e.base = true, in.Hold.Until, n
	e.set(n, RuleHold, held)
	switch {
	case n < in.Hold.Count:
		e.also(n, d.Ceiling.By, boundReason(&d.Ceiling))
	case n > 0 || in.Count == 0:
		e.Explanation.add(clause{kind: clauseInstances, n: n})
	case !in.Raised.IsZero() && in.Loads.Concurrency.End.Before(in.Raised.Add(time.Second)):
		// Whoever woke it is not measured yet.
		e.also(in.Count, RuleFresh, clause{kind: clauseWoken, n: in.Count})
	case !startUntil(in).IsZero():
		e.also(1, RuleStarting, clause{kind: clauseOverrideStarting, a: startUntil(in).Sub(in.Now)})
	case idleFor(in) < atRest:
		e.also(1, RuleIdle, clause{kind: clauseOverrideInFlight})
	case !in.WayBack && in.WasReady:
		e.also(1, RuleNoWayBack, clause{kind: clauseOverrideNotWakeable, text: whyStranded(in)})
	default:
		e.Explanation.add(clause{kind: clauseInstances})
	}
}

// atRest is how long the sources of a revision without traffic must report
// nothing: one second that all of them have completed.
const atRest = time.Second

// idleNeeded is for how long no request must come before zero.
func idleNeeded(in *EvalInput) time.Duration {
	return in.Scaling.Window.D() + in.Scaling.ZeroGrace.D()
}

// scaleToZero permits zero only after the idle time and with a way back. It
// never raises a count of zero.
func (e *Evaluation) scaleToZero(in *EvalInput) {
	requests := &in.Loads.Concurrency
	idle := requests.Idle
	stranded := !in.WayBack && in.WasReady
	if !in.Routed && idle >= atRest && !stranded {
		e.set(0, RuleUnrouted, clause{kind: clauseUnrouted})
		return
	}
	if e.Decision.Desired > 0 || in.Count == 0 {
		return
	}
	need, since := idleNeeded(in), clauseIdle
	if in.Routed {
		if idle = idleFor(in); idle < requests.Idle {
			since = clauseIdleReady
		}
	}
	switch {
	case !startUntil(in).IsZero():
		e.set(1, RuleStarting, clause{kind: clauseStarting, a: startUntil(in).Sub(in.Now)})
	case !in.Routed && idle >= atRest:
		// As long as the new route is not carried callers may be led here.
		e.set(1, RuleNoWayBack, clause{kind: clauseUnroutedNotWakeable, text: whyStranded(in)})
	case !in.Routed:
		e.set(1, RuleIdle, clause{kind: clauseUnroutedInFlight})
	case idle < need && requests.Partial:
		e.set(1, RulePartial, clause{kind: clauseIdlePartial})
	case idle < need:
		e.set(1, RuleIdle, clause{kind: since, a: idle, b: need})
	case !in.WayBack:
		e.set(1, RuleNoWayBack, clause{kind: clauseNotWakeable, text: whyStranded(in)})
	default:
		e.set(0, RuleZero, clause{kind: clauseZero, a: idle})
	}
}

// zeroAt is when zero will be permitted if no request comes, and the zero time if
// it is not known, or something else holds the instances.
func zeroAt(in *EvalInput, d *wadi.Decision) time.Time {
	held := in.Hold.Active(in.Now)
	if in.Count == 0 || !startUntil(in).IsZero() || !in.Routed || in.Failed || !in.WayBack || !d.Valid || d.Floor.Count > 0 || held {
		return time.Time{}
	}
	return in.Now.Add(max(0, idleNeeded(in)-idleFor(in)))
}

func whyStranded(in *EvalInput) string {
	return cmp.Or(in.WhyStranded, "no activator could wake it")
}
