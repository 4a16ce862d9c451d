package scheduler

import (
	"math"

	"github.com/wadi-run/wadi"
)

// bound applies the revision's lower and upper bound. The upper bound wins.
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
	case RuleWarming:
		p.kind = clauseWarming
	case RuleSchedule:
		p.kind, p.text = clauseSchedule, b.Name
	case RuleCeiling:
		p.kind = clauseCeiling
	}
	return p
}

// floorOf is the lower bound of a routed revision, with the rule behind it; zero: none.
func floorOf(in *EvalInput) wadi.Bound {
	if in.AwaitsImages {
		return wadi.Bound{}
	}
	b := wadi.Bound{Count: in.Scaling.Min, By: RuleMin}
	if f, ok := in.Calendar.At(in.Now); ok && f.Min > b.Count {
		b = wadi.Bound{Count: f.Min, By: RuleSchedule, Name: f.Name, Until: f.Until}
	}
	if !in.WasReady && in.Scaling.Initial > b.Count {
		b = wadi.Bound{Count: in.Scaling.Initial, By: RuleInitial}
	}
	if in.Warming > b.Count {
		b = wadi.Bound{Count: in.Warming, By: RuleWarming}
	}
	if b.Count = min(b.Count, topOf(in)); b.Count <= 0 {
		return wadi.Bound{}
	}
	return b
}

// ceilingOf is the upper bound; zero: none.
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
