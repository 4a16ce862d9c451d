package scheduler

import (
	"time"
)

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
