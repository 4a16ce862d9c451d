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

// loadReason says what was measured and what follows from it.
func loadReason(s Settings, in Input, out Output) string {
	average, window := in.Stable, s.StableWindow
	if out.Rule == RulePanic {
		average, window = in.Panic, s.PanicWindow
	}
	per := fmt.Sprintf(", %s wanted per instance", number(s.TargetValue))
	if s.TargetValue >= anyLoad {
		per = ""
	}
	text := fmt.Sprintf("%s on average over %s%s: %s", amount(average, s.Metric), span(window), per, instances(out.Desired))
	switch out.Rule {
	case RulePanic:
		return fmt.Sprintf("panic, %d ready: %s, and not fewer before %s of calm", in.Ready, text, span(s.StableWindow))
	case RuleUpRate:
		return fmt.Sprintf("%s, the most in one step from %d ready (max_up_rate %s)", text, in.Ready, number(s.MaxUpRate))
	case RuleDownRate:
		return fmt.Sprintf("%s, the fewest in one step from %d ready (max_down_rate %s)", text, in.Ready, number(s.MaxDownRate))
	case RuleActivation:
		return text + ", the fewest that it starts with (activation)"
	case RuleDownDelay:
		return fmt.Sprintf("%s, the most wanted within %s (down_delay)", text, span(s.DownDelay))
	}
	return text
}

// amount writes a load with its unit.
func amount(v float64, m wadi.Metric) string {
	switch m {
	case wadi.RPS:
		return number(v) + " requests per second"
	case wadi.CPU, wadi.Memory: // Summed up over the instances.
		return number(v) + "% of the " + string(m) + " of one instance"
	}
	return number(v) + " requests at once"
}

// number writes a measured value with what a person needs of its digits.
func number(v float64) string {
	if math.Abs(v) >= 1e9 || math.IsNaN(v) {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	if v > 0 && v < 0.005 { // Little, and not nothing.
		return strconv.FormatFloat(max(0.0001, math.Round(v*1e4)/1e4), 'f', -1, 64)
	}
	return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64)
}

func instances(n int) string {
	if n == 1 {
		return "1 instance"
	}
	return fmt.Sprintf("%d instances", n)
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
