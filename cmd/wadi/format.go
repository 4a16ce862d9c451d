package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

func percent(p float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", p), "0"), ".") + " %"
}

// age is how long ago a moment was, in one unit.
func age(since time.Time, now time.Time) string {
	if since.IsZero() || since.Unix() == 0 {
		return "-"
	}
	switch d := max(0, now.Sub(since)); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// number writes a measured value with as many digits as a reader needs.
func number(v float64) string {
	digits := 100.0
	if v < 0.005 { // Small, but not zero.
		digits = 1e4
	}
	return strconv.FormatFloat(math.Round(v*digits)/digits, 'f', -1, 64)
}

// share writes a fraction as a percentage, rounded down: 100 % only if nothing is missing.
func share(v float64) string { return fmt.Sprintf("%.0f %%", math.Floor(100*v+1e-6)) }

// remaining is the time until a moment, rounded up to whole seconds.
func remaining(at, now time.Time) string {
	return max(0, at.Sub(now)+time.Second-1).Truncate(time.Second).String()
}
