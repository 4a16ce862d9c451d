package scheduler

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/wadi-run/wadi"
)

// loadExplanation is what was measured and what follows from it.
type loadExplanation struct {
	metric            wadi.Metric
	rule              string
	average, target   float64
	rate              float64 // The rate that the rule applies.
	over, calm, delay time.Duration
	ready, desired    int
}

func explainLoad(s *Settings, in Input, out *Output) loadExplanation {
	r := loadExplanation{
		metric: cmp.Or(s.Metric, wadi.Concurrency), rule: out.Rule, average: in.Stable, target: s.TargetValue, over: s.StableWindow, calm: s.StableWindow,
		delay: s.DownDelay, ready: in.Ready, desired: out.Desired,
	}
	switch out.Rule {
	case RulePanic:
		r.average, r.over = in.Panic, s.PanicWindow
	case RuleUpRate:
		r.rate = s.MaxUpRate
	case RuleDownRate:
		r.rate = s.MaxDownRate
	}
	return r
}

func (r *loadExplanation) append(b []byte) []byte {
	if r.rule == RulePanic {
		b = strconv.AppendInt(append(b, "panic, "...), int64(r.ready), 10)
		b = append(b, " ready: "...)
	}
	b = appendAmount(b, r.average, r.metric)
	b = append(append(b, " on average over "...), span(r.over)...)
	if r.target < anyLoad {
		b = append(appendNumber(append(b, ", "...), r.target), " wanted per instance"...)
	}
	b = append(append(b, ": "...), instances(r.desired)...)
	switch r.rule {
	case RulePanic:
		b = append(append(append(b, ", and not fewer before "...), span(r.calm)...), " of calm"...)
	case RuleUpRate:
		b = appendStep(append(b, ", the most"...), r.ready, "max_up_rate ", r.rate)
	case RuleDownRate:
		b = appendStep(append(b, ", the fewest"...), r.ready, "max_down_rate ", r.rate)
	case RuleActivation:
		b = append(b, ", the fewest that it starts with (activation)"...)
	case RuleDownDelay:
		b = append(append(append(b, ", the most wanted within "...), span(r.delay)...), " (down_delay)"...)
	}
	return b
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

// appendNumber writes a measured value with as many digits as a reader needs.
func appendNumber(b []byte, v float64) []byte {
	if math.Abs(v) >= 1e9 || math.IsNaN(v) {
		return strconv.AppendFloat(b, v, 'g', 3, 64)
	}
	if v > 0 && v < 0.005 { // Small, but not zero.
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

// span writes a duration as users write it: 60s, 90s, 10m, 1h30m.
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
