package scheduler

import (
	"time"
)

// The override replaces what the load wants, even if the load is not known. It respects
// the upper bound, and the rule that no request loses its instance. It does not apply to a
// revision that is not routed or has failed, as callers do not reach those.
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
		// The request that woke it is not measured yet.
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
