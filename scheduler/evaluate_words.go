package scheduler

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/wadi-run/wadi"
)

// The rules that a decision names.
const (
	RuleLoad       = "load"        // The average over the window.
	RulePanic      = "panic"       // The average over the panic window, or what panic still holds.
	RuleUpRate     = "up_rate"     // The load, cut by max_up_rate.
	RuleDownRate   = "down_rate"   // The load, held by max_down_rate.
	RuleDownDelay  = "down_delay"  // The most that was wanted lately.
	RuleActivation = "activation"  // The load, raised to the activation count.
	RuleMin        = "min"         // The lower bound.
	RuleSchedule   = "schedule"    // The lower bound by the clock.
	RuleMax        = "max"         // The upper bound.
	RuleCeiling    = "ceiling"     // The agent's upper bound.
	RuleHold       = "hold"        // What somebody asked for.
	RuleInitial    = "initial"     // The revision has not been ready yet.
	RuleIdle       = "idle"        // Idle, but not for long enough.
	RuleZero       = "zero"        // Idle for long enough.
	RuleNoWayBack  = "no_way_back" // Nothing could wake it from zero.
	RulePartial    = "partial"     // Data are missing: no lowering.
	RuleFresh      = "fresh"       // Raised later than what was measured: no lowering.
	RuleUnrouted   = "unrouted"    // No traffic goes to it.
	RuleFailed     = "failed"      // It never became ready.
	RuleInvalid    = "invalid"     // Too little is known: nothing changes.
)

// loadReason says what was measured and what follows from it. It is written at
// every evaluation, so it is put together without formatting.
func loadReason(s Settings, in Input, out Output) string {
	average, window := in.Stable, s.StableWindow
	b := make([]byte, 0, 192)
	if out.Rule == RulePanic {
		average, window = in.Panic, s.PanicWindow
		b = append(b, "panic, "...)
		b = strconv.AppendInt(b, int64(in.Ready), 10)
		b = append(b, " ready: "...)
	}
	b = appendAmount(b, average, s.Metric)
	b = append(append(b, " on average over "...), span(window)...)
	if s.TargetValue < anyLoad {
		b = append(appendNumber(append(b, ", "...), s.TargetValue), " wanted per instance"...)
	}
	b = append(append(b, ": "...), instances(out.Desired)...)
	switch out.Rule {
	case RulePanic:
		b = append(append(append(b, ", and not fewer before "...), span(s.StableWindow)...), " of calm"...)
	case RuleUpRate:
		b = appendStep(append(b, ", the most"...), in.Ready, "max_up_rate ", s.MaxUpRate)
	case RuleDownRate:
		b = appendStep(append(b, ", the fewest"...), in.Ready, "max_down_rate ", s.MaxDownRate)
	case RuleActivation:
		b = append(b, ", the fewest that it starts with (activation)"...)
	case RuleDownDelay:
		b = append(append(append(b, ", the most wanted within "...), span(s.DownDelay)...), " (down_delay)"...)
	}
	return string(b)
}

func appendStep(b []byte, ready int, setting string, rate float64) []byte {
	b = strconv.AppendInt(append(b, " in one step from "...), int64(ready), 10)
	return append(appendNumber(append(append(b, " ready ("...), setting...), rate), ')')
}

// appendAmount writes a load with its unit.
func appendAmount(b []byte, v float64, m wadi.Metric) []byte {
	b = appendNumber(b, v)
	s := "s"
	if v == 1 {
		s = ""
	}
	switch m {
	case wadi.RPS:
		return append(append(append(b, " request"...), s...), " per second"...)
	case wadi.CPU, wadi.Memory: // Summed up over the instances.
		return append(append(append(b, "% of the "...), m...), " of one instance"...)
	}
	return append(append(append(b, " request"...), s...), " at once"...)
}

// appendNumber writes a measured value with what a person needs of its digits.
func appendNumber(b []byte, v float64) []byte {
	if math.Abs(v) >= 1e9 || math.IsNaN(v) {
		return strconv.AppendFloat(b, v, 'g', 3, 64)
	}
	if v > 0 && v < 0.005 { // Little, and not nothing.
		return strconv.AppendFloat(b, max(0.0001, math.Round(v*1e4)/1e4), 'f', -1, 64)
	}
	return strconv.AppendFloat(b, math.Round(v*100)/100, 'f', -1, 64)
}

func instances(n int) string {
	if n == 1 {
		return "1 instance"
	}
	return strconv.Itoa(n) + " instances"
}

// span writes a duration as people set it: 60s, 90s, 10m, 1h30m.
func span(d time.Duration) string {
	switch {
	case d <= 0:
		return "0s"
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d <= 2*time.Minute:
		return strconv.Itoa(int(d.Round(time.Second)/time.Second)) + "s"
	case d < time.Hour && d%time.Minute != 0:
		return d.Round(time.Second).String()
	case d < time.Hour:
		return strconv.Itoa(int(d/time.Minute)) + "m"
	case d%time.Hour < time.Minute:
		return strconv.Itoa(int(d/time.Hour)) + "h"
	}
	return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
}
