package scheduler

import (
	"math"
	"time"

	"github.com/wadi-run/wadi"
)

// Settings is what [Decide] decides by, resolved from a service's scaling.
type Settings struct {
	Metric        wadi.Metric // For the reason only.
	TargetValue   float64     // What one instance should carry.
	TotalValue    float64     // What one instance can carry.
	BurstCapacity float64     // Spare capacity to keep; below 0 is without bound.

	MaxUpRate      float64 // Highest factor of one decision upwards.
	MaxDownRate    float64 // Highest factor of one decision downwards.
	PanicThreshold float64 // Wanted instances per ready one at which panic begins.

	StableWindow time.Duration
	PanicWindow  time.Duration // For the reason only.
	DownDelay    time.Duration // 0 is off.
	Activation   int           // Instances when leaving zero.
	Reachable    bool          // Routed: callers can reach the revision.
}

// Defaults of a target, by metric.
const (
	defaultConcurrency = 100
	defaultRPS         = 200
)

// minTarget keeps a division by the target harmless.
const minTarget = 0.01

// SettingsOf resolves a scaling. The concurrency limit of an instance, 0 being
// none, bounds its target of concurrency.
func SettingsOf(s wadi.Scaling, concurrencyLimit int, routed bool) Settings {
	total := totalOf(s, concurrencyLimit)
	window := s.Window.D()
	return Settings{
		Metric:         s.Metric,
		TargetValue:    max(minTarget, total*s.Utilization),
		TotalValue:     total,
		BurstCapacity:  s.BurstCapacity,
		MaxUpRate:      s.MaxUpRate,
		MaxDownRate:    s.MaxDownRate,
		PanicThreshold: s.PanicThresholdPercent / 100,
		StableWindow:   window,
		PanicWindow:    PanicWindow(window, s.PanicWindowPercent),
		DownDelay:      s.DownDelay.D(),
		Activation:     s.Activation,
		Reachable:      routed,
	}
}

func totalOf(s wadi.Scaling, limit int) float64 {
	switch {
	case s.Metric == wadi.RPS && s.Target > 0:
		return s.Target
	case s.Metric == wadi.RPS:
		return defaultRPS
	case s.Target > 0 && limit > 0:
		return min(s.Target, float64(limit))
	case s.Target > 0:
		return s.Target
	case limit > 0:
		return float64(limit)
	}
	return defaultConcurrency
}

// PanicWindow is percent of a window in whole seconds, at least one.
func PanicWindow(window time.Duration, percent float64) time.Duration {
	seconds := math.Round(window.Seconds() * percent / 100)
	return time.Duration(max(1, seconds)) * time.Second
}
