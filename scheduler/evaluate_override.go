package scheduler

import (
	"time"
)

// The override replaces what the load wants, even if the load is not known. It respects
// the upper bound, and the rule that no request loses its instance. It does not apply to a
// revision that is not routed or has failed, as callers do not reach those.
func (e *Evaluation) override(in *EvalInput) {
	if !in.Override.Active(in.Now) || !in.Routed || in.Failed {
		return
	}
	d, n := &e.Decision, min(max(0, in.Override.Count), topOf(in))
	override := clause{kind: clauseOverride, n: in.Override.Count, m: unknown, a: in.Override.Until.Sub(in.Now), text: in.Override.By}
	if d.Valid {
		override.m = d.Wanted
	}
	d.Valid, d.OverrideUntil, e.base = true, in.Override.Until, n
	e.set(n, RuleOverride, override)
	switch {
	case n < in.Override.Count:
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
	case !in.Wakeable && in.WasReady:
		e.also(1, RuleNotWakeable, clause{kind: clauseOverrideNotWakeable, text: whyNotWakeable(in)})
	default:
		e.Explanation.add(clause{kind: clauseInstances})
	}
}
