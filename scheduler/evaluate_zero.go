package scheduler

import (
	"cmp"
	"time"

	"github.com/wadi-run/wadi"
)

// atRest is how long a revision without traffic must be idle before zero: one second that
// all sources have completed.
const atRest = time.Second

// idleNeeded is how long a routed revision must be idle before zero.
func idleNeeded(in *EvalInput) time.Duration {
	return in.Scaling.Window.D() + in.Scaling.ZeroGrace.D()
}

// scaleToZero permits zero only after the idle time and if it is wakeable. It
// never raises a count of zero.
func (e *Evaluation) scaleToZero(in *EvalInput) {
	requests := &in.Loads.Concurrency
	idle := requests.Idle
	notWakeable := !in.Wakeable && in.WasReady
	if !in.Routed && idle >= atRest && !notWakeable {
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
		// Callers may come until the mesh carries the new route.
		e.set(1, RuleNotWakeable, clause{kind: clauseUnroutedNotWakeable, text: whyNotWakeable(in)})
	case !in.Routed:
		e.set(1, RuleIdle, clause{kind: clauseUnroutedInFlight})
	case idle < need && requests.Partial:
		e.set(1, RulePartial, clause{kind: clauseIdlePartial})
	case idle < need:
		e.set(1, RuleIdle, clause{kind: since, a: idle, b: need})
	case !in.Wakeable:
		e.set(1, RuleNotWakeable, clause{kind: clauseNotWakeable, text: whyNotWakeable(in)})
	default:
		e.set(0, RuleZero, clause{kind: clauseZero, a: idle})
	}
}

// zeroAt is when zero will be permitted if no request comes. It is the zero time if that
// is not known, or another rule keeps the instances.
func zeroAt(in *EvalInput, d *wadi.Decision) time.Time {
	overridden := in.Override.Active(in.Now)
	if in.Count == 0 || !startUntil(in).IsZero() || !in.Routed || in.Failed || !in.Wakeable || !d.Valid || d.Floor.Count > 0 || overridden {
		return time.Time{}
	}
	return in.Now.Add(max(0, idleNeeded(in)-idleFor(in)))
}

func whyNotWakeable(in *EvalInput) string {
	return cmp.Or(in.WhyNotWakeable, "no activator could wake it")
}
