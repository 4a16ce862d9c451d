package scheduler

import (
	"math"
	"time"

	"github.com/wadi-run/wadi"
)

// Settings are the parameters of [Decide], resolved from a service's scaling.
type Settings struct {
	Metric        wadi.Metric // For the explanation only.
	TargetValue   float64     // What one instance should carry.
	TotalValue    float64     // What one instance can carry.
	BurstCapacity float64     // Spare capacity to keep; below 0 is unlimited.

	MaxUpRate      float64 // The count grows at most by this factor in one decision.
	MaxDownRate    float64 // The count shrinks at most by this factor in one decision.
	PanicThreshold float64 // Panic begins at this many wanted instances per ready instance.

	StableWindow time.Duration
	PanicWindow  time.Duration // For the explanation only.
	DownDelay    time.Duration // 0 is off.
	Activation   int           // Instances when leaving zero.
	Reachable    bool          // Routed: callers can reach the revision.
}

// minTarget avoids a division by zero.
const minTarget = 0.01

// SettingsOf resolves a service's scaling for one metric. An instance's concurrency limit
// (0: none) caps its concurrency target.
func SettingsOf(s *wadi.Scaling, m wadi.MetricTarget, concurrencyLimit int, routed bool) Settings {
	total := totalOf(m, concurrencyLimit)
	window := s.Window.D()
	return Settings{
		Metric:         m.Metric,
		TargetValue:    max(minTarget, total*m.Utilization),
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

func totalOf(m wadi.MetricTarget, limit int) float64 {
	total := m.Target
	if total <= 0 {
		total = m.Metric.Default().Target
	}
	switch {
	case limit <= 0 || m.Metric != wadi.Concurrency && m.Metric != "":
		return total
	case m.Target > 0:
		return min(m.Target, float64(limit))
	}
	return float64(limit)
}

// PanicWindow is percent of a window in whole seconds, at least one.
func PanicWindow(window time.Duration, percent float64) time.Duration {
	seconds := math.Round(window.Seconds() * percent / 100)
	return time.Duration(max(1, seconds)) * time.Second
}
