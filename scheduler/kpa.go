package scheduler

import (
	"math"
	"time"

	"github.com/wadi-run/wadi"
)

// Input is what one decision of [Decide] is made from.
type Input struct {
	Stable float64 // Average over the stable window.
	Panic  float64 // Average over the panic window.
	Ready  int     // Ready instances.
}

// Output is what [Decide] wants.
type Output struct {
	Desired     int     // Before bounds.
	ExcessBurst float64 // Capacity beyond the load and the burst capacity; -1 if the burst capacity is unlimited.
	Panicking   bool
	Valid       bool   // False: an average is not a number, and nothing changes.
	Rule        string // One of the Rule constants.
	Reason      string // The explanation, one sentence.
}

// NewDecider is the memory of a decider that is created at now. The history may be lost,
// so a decider with more than one ready instance starts in panic: it lowers nothing before
// it has seen a whole window.
func NewDecider(ready int, now time.Time) wadi.Decider {
	st := wadi.Decider{Started: true, HighestInPanic: max(0, ready)}
	if ready > 1 {
		st.PanicSince = now
	}
	return st
}

// Decide returns how many instances the load wants at now, before any bound, and the
// memory to pass next time. It is Knative's KPA. A zero memory starts at now.
func Decide(s Settings, st wadi.Decider, in Input, now time.Time) (Output, wadi.Decider) {
	if math.IsNaN(in.Stable) || math.IsNaN(in.Panic) {
		return Output{Panicking: panicking(st), Rule: RuleInvalid, Reason: "the measured load is not a number"}, st
	}
	out, next := decide(&s, st, in, now)
	reason := explainLoad(&s, in, &out)
	out.Reason = string(reason.append(nil))
	return out, next
}

// decide is Decide without the explanation, for averages that are numbers.
func decide(s *Settings, st wadi.Decider, in Input, now time.Time) (Output, wadi.Decider) {
	if !st.Started {
		st = NewDecider(in.Ready, now)
	}
	w := wantedBy(s, in)
	st = panicNext(s, st, w, now)

	out := Output{Desired: w.stable, Valid: true, ExcessBurst: excessBurst(s, in), Panicking: panicking(st)}
	if out.Panicking {
		st.HighestInPanic = max(st.HighestInPanic, w.stable, w.panic)
		out.Desired = st.HighestInPanic
	}
	out.Rule = ruleOf(w, out)
	if s.DownDelay > 0 && s.Reachable {
		var highest int
		highest, st.Delay = delay(st.Delay, s.DownDelay, out.Desired, now)
		if highest > out.Desired {
			out.Desired, out.Rule = highest, RuleDownDelay
		}
	}
	return out, st
}

// wants is what both windows want.
type wants struct {
	unclamped    float64 // Of the stable window, before rates.
	ratio        float64 // Of the panic window before rates, per ready instance.
	down, up     float64 // The bounds of one decision.
	stable       int
	panic        int
	byActivation bool // stable was raised to the activation count.
}

func wantedBy(s *Settings, in Input) wants {
	target := s.TargetValue
	if !(target > 0) {
		target = minTarget
	}
	ready := float64(max(1, in.Ready))
	w := wants{unclamped: math.Ceil(in.Stable / target), up: math.Ceil(s.MaxUpRate * ready)}
	if s.Reachable {
		w.down = math.Floor(ready / s.MaxDownRate)
	}
	peak := math.Ceil(in.Panic / target)
	w.ratio = peak / ready
	w.stable = whole(min(max(w.unclamped, w.down), w.up))
	w.panic = whole(min(max(peak, w.down), w.up))
	if s.Activation > 1 {
		if w.unclamped > 0 && w.stable < s.Activation {
			w.stable, w.byActivation = s.Activation, true
		}
		if peak > 0 && w.panic < s.Activation {
			w.panic = s.Activation
		}
	}
	return w
}

// panicNext enters, prolongs or ends panic.
func panicNext(s *Settings, st wadi.Decider, w wants, now time.Time) wadi.Decider {
	switch {
	case w.ratio >= s.PanicThreshold:
		st.PanicSince = now
	case st.PanicSince.After(now): // The clock was ahead, or was set back.
		st.PanicSince = now
	case panicking(st) && st.PanicSince.Add(s.StableWindow).Before(now):
		st.PanicSince = time.Time{}
		st.HighestInPanic = 0
	}
	return st
}

func panicking(st wadi.Decider) bool { return !st.PanicSince.IsZero() }

// excessBurst is how many more requests the ready instances could take at once.
func excessBurst(s *Settings, in Input) float64 {
	switch {
	case s.BurstCapacity < 0:
		return -1
	case s.BurstCapacity == 0:
		return 0
	}
	capacity := float64(float64(in.Ready) * s.TotalValue) // No fused arithmetic: the same on every machine.
	excess := math.Floor(capacity - s.BurstCapacity - in.Panic)
	return min(max(excess, -math.MaxFloat64), math.MaxFloat64)
}

// ruleOf names the rule behind the number, before the delay.
func ruleOf(w wants, out Output) string {
	switch {
	case out.Panicking:
		return RulePanic
	case w.byActivation:
		return RuleActivation
	case w.unclamped > w.up:
		return RuleUpRate
	case w.unclamped < w.down:
		return RuleDownRate
	}
	return RuleLoad
}

// whole is v without its fraction, and the largest int if v is beyond it.
func whole(v float64) int {
	switch {
	case v >= math.MaxInt:
		return math.MaxInt
	case v <= math.MinInt:
		return math.MinInt
	case math.IsNaN(v):
		return 0
	}
	return int(v)
}

// bucketSeconds is the width of a delay bucket.
const bucketSeconds = 2

// delay records desired and returns the highest of the buckets within the delay. It keeps
// only buckets that can still be the highest: each is larger than all later ones.
func delay(old []wadi.DelayBucket, d time.Duration, desired int, now time.Time) (int, []wadi.DelayBucket) {
	width := time.Duration(bucketSeconds * time.Second)
	n := int64((d + width - 1) / width)
	index := floorDiv(now.Unix(), bucketSeconds)

	var keep []wadi.DelayBucket // A new slice: the caller's memory stays as it was.
	for _, b := range old {
		if b.Index > index {
			continue // The clock was ahead, or was set back: the bucket would stay in force for as long.
		}
		if b.Max > desired && index-b.Index < n {
			keep = append(keep, b)
		}
	}
	if len(keep) == 0 || keep[len(keep)-1].Index != index {
		keep = append(keep, wadi.DelayBucket{Index: index, Max: desired})
	}
	return keep[0].Max, keep
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
