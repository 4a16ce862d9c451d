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
		// Callers may come until the mesh carries the new route.
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

// zeroAt is when zero will be permitted if no request comes. It is the zero time if that
// is not known, or another rule keeps the instances.
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
