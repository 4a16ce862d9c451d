package scheduler

import (
	"fmt"
	"time"
)

// Explanation is why a decision came out as it did. It becomes text only when it is read,
// as most evaluations of a leader are never read.
type Explanation struct {
	load  loadExplanation // Zero: none.
	parts [maxClauses]clause
	n     int
}

// maxClauses is the most clauses beside the load: a lower and an upper bound, missing
// data, and one more instance.
const maxClauses = 4

func (w *Explanation) add(p clause) {
	w.parts[w.n] = p
	w.n++
}

// String is one sentence; semicolons separate its clauses.
func (w *Explanation) String() string {
	b := make([]byte, 0, 256)
	if w.load.metric != "" {
		b = w.load.append(b)
	}
	for i := range w.parts[:w.n] {
		p := &w.parts[i]
		if len(b) > 0 && p.kind != clauseInstances {
			b = append(b, "; "...)
		}
		b = p.append(b)
	}
	return string(b)
}

// clauseKind selects a clause's text. The comments say which fields of [clause] it uses.
type clauseKind uint8

const (
	clauseNone clauseKind = iota
	clauseFailed
	clauseReadyUnknown
	clauseNoNumber
	clauseUnknownWindow // share of it is known
	clauseBound         // text: which bound; n
	clauseInitial       // n
	clauseWarming       // n
	clauseSchedule      // text: its name; n
	clauseCeiling       // n
	clauseUnreported    // n: the count that stays
	clauseUnaccounted   // n: the count that stays
	clauseUsageUnknown  // text: the metric; n: the count that stays
	clauseFresh         // n: the count that stays
	clauseUnrouted
	clauseUnroutedNotWakeable // text: why
	clauseUnroutedInFlight
	clauseIdlePartial
	clauseIdle                // a: for how long; b: how long is needed
	clauseIdleReady           // a, b: the same since it became ready
	clauseStarting            // a: how long it may still take
	clauseNotWakeable         // text: why
	clauseZero                // a: for how long it was idle
	clauseOverride            // n: at; m: what the load wants, or unknown; a: for how long; text: by whom
	clauseInstances           // n
	clauseWoken               // n: the count that stays
	clauseOverrideInFlight    //
	clauseOverrideStarting    // a: how long it may still take
	clauseOverrideNotWakeable // text: why
	clauseMigrating           // n; m: how many migrate
	clausePull                // text: what kind of failure; a: how long it is not tried again; n
)

// unknown stands for a number of instances that is not known.
const unknown = -1

// clause is one part of an explanation with its parameters.
type clause struct {
	kind  clauseKind
	n, m  int
	a, b  time.Duration
	share float64
	text  string
}

func (p *clause) append(b []byte) []byte {
	switch p.kind {
	case clauseFailed:
		return append(b, "it did not become ready in time: 0 instances"...)
	case clauseReadyUnknown:
		return append(b, "how many instances are ready is not known: nothing changes"...)
	case clauseNoNumber:
		return append(b, "the measured load is not a number: nothing changes"...)
	case clauseUnknownWindow:
		return fmt.Appendf(b, "only %.0f%% of the window is known: nothing changes", p.share*100)
	case clauseBound:
		return fmt.Appendf(b, "but %s is %d: %s", p.text, p.n, instances(p.n))
	case clauseMigrating:
		return fmt.Appendf(b, "%s on nodes that are drained, so one more: %s", instances(p.m), instances(p.n))
	case clausePull:
		return fmt.Appendf(b, "its image can't be had (%s), and is not asked for again for %s: %s", p.text, span(p.a), instances(p.n))
	case clauseInitial:
		return fmt.Appendf(b, "a new revision begins with %s (initial)", instances(p.n))
	case clauseWarming:
		return fmt.Appendf(b, "its share of the traffic grows, and needs them first: %s", instances(p.n))
	case clauseSchedule:
		return fmt.Appendf(b, "but schedule %s asks for at least %d: %s", p.text, p.n, instances(p.n))
	case clauseCeiling:
		return fmt.Appendf(b, "but the agent allows at most %d (limits.max_instances): %s", p.n, instances(p.n))
	case clauseUnreported:
		return fmt.Appendf(b, "but not every source has reported: stays at %d", p.n)
	case clauseUnaccounted:
		return fmt.Appendf(b, "but instances got more from activators than the activators report: stays at %d", p.n)
	case clauseUsageUnknown:
		return fmt.Appendf(b, "but the %s of some instance is not known: stays at %d", p.text, p.n)
	case clauseFresh:
		return fmt.Appendf(b, "but that was measured before it was raised: stays at %d", p.n)
	case clauseOverride:
		return p.appendHeld(b)
	}
	return p.appendZero(b)
}

// appendZero writes the clauses about scale to zero.
func (p *clause) appendZero(b []byte) []byte {
	switch p.kind {
	case clauseUnrouted:
		return append(b, "no traffic goes to it, and nothing is in flight: 0 instances"...)
	case clauseUnroutedNotWakeable:
		return fmt.Appendf(b, "no traffic is to go to it, but %s: keeps 1 instance", p.text)
	case clauseUnroutedInFlight:
		return append(b, "no traffic goes to it, but requests are in flight: keeps 1 instance"...)
	case clauseIdlePartial:
		return append(b, "idle, but not every source has reported: keeps 1 instance"...)
	case clauseIdle:
		return fmt.Appendf(b, "no request for %s, zero after %s: keeps 1 instance", span(p.a), span(p.b))
	case clauseIdleReady:
		return fmt.Appendf(b, "no request since it became ready %s ago, zero after %s: keeps 1 instance", span(p.a), span(p.b))
	case clauseStarting:
		return fmt.Appendf(b, "no request, but an instance is starting, for %s more at most (timeout.progress): keeps 1 instance", span(p.a))
	case clauseNotWakeable:
		return fmt.Appendf(b, "not wakeable from zero: %s: keeps 1 instance", p.text)
	case clauseZero:
		return fmt.Appendf(b, "no request for %s: 0 instances", span(p.a))
	case clauseInstances:
		return append(append(b, ": "...), instances(p.n)...)
	case clauseWoken:
		return fmt.Appendf(b, "but it was woken since: stays at %s", instances(p.n))
	case clauseOverrideInFlight:
		return append(b, "but requests may be in flight: keeps 1 instance"...)
	case clauseOverrideStarting:
		return fmt.Appendf(b, "but an instance is starting, for %s more at most (timeout.progress): keeps 1 instance", span(p.a))
	case clauseOverrideNotWakeable:
		return fmt.Appendf(b, "but %s: keeps 1 instance", p.text)
	}
	return b
}

func (p *clause) appendHeld(b []byte) []byte {
	b = fmt.Appendf(b, "overridden to %d for %s more", p.n, span(p.a))
	if p.text != "" {
		b = append(append(b, " by "...), p.text...)
	}
	if p.m != unknown {
		b = fmt.Appendf(b, " (the load wants %d)", p.m)
	}
	return b
}
