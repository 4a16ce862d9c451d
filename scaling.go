package wadi

import (
	"encoding/json"
	"fmt"
)

// Metric is a measure of load by which a revision can be scaled.
type Metric string

// The metrics by which a revision can be scaled.
const (
	Concurrency Metric = "concurrency" // Requests in flight or waiting.
	RPS         Metric = "rps"         // Requests begun per second.
	CPU         Metric = "cpu"         // Percent of what the serving task asked for.
	Memory      Metric = "memory"      // Percent of what the serving task asked for.
)

// OfRequests reports whether m counts requests. Only such metrics decide about zero.
func (m Metric) OfRequests() bool { return m != CPU && m != Memory }

// Default is the target of m unless the service sets another.
func (m Metric) Default() MetricTarget {
	switch m {
	case CPU, Memory:
		return MetricTarget{Metric: m, Target: 80, Utilization: 1}
	case RPS:
		return MetricTarget{Metric: m, Target: 200, Utilization: 0.7}
	}
	return MetricTarget{Metric: m, Target: 100, Utilization: 0.7}
}

// MetricTarget is the load that one instance should carry by one metric.
type MetricTarget struct {
	Metric      Metric  `json:"metric"`
	Target      float64 `json:"target"`      // Per instance; 0 is the metric's default.
	Utilization float64 `json:"utilization"` // Share of Target at which an instance counts as loaded, 0 to 1.
}

// Schedule is a floor by the clock: from each time that Cron names, for Duration.
type Schedule struct {
	Name     string   `json:"name"`
	Cron     string   `json:"cron"` // Minute, hour, day, month, weekday; or a macro such as @daily.
	Duration Duration `json:"duration"`
	Timezone string   `json:"timezone"` // IANA name; empty is UTC.
	Min      int      `json:"min"`      // Instances while the schedule is in force.
}

// Scaling says how many instances a revision should have.
type Scaling struct {
	Min        int      `json:"min"`        // 0 permits scale to zero.
	Max        int      `json:"max"`        // 0 is the agent's ceiling.
	Initial    int      `json:"initial"`    // Ready instances before a new revision counts as ready.
	Activation int      `json:"activation"` // Instances when leaving zero.
	Window     Duration `json:"window"`     // Averaging window, and the idle time before zero.

	PanicWindowPercent    float64 `json:"panic_window_percent"`    // Of Window.
	PanicThresholdPercent float64 `json:"panic_threshold_percent"` // Of the capacity that is ready.

	MaxUpRate   float64  `json:"max_up_rate"`   // Highest factor of one decision upwards.
	MaxDownRate float64  `json:"max_down_rate"` // Highest factor of one decision downwards.
	DownDelay   Duration `json:"down_delay"`
	ZeroGrace   Duration `json:"zero_grace"` // Further idle time before zero.

	BurstCapacity float64  `json:"burst_capacity"`
	DryRun        bool     `json:"dry_run"`     // Decide and show, but don't execute.
	ManualHold    Duration `json:"manual_hold"` // How long a count set by hand in Nomad stands.

	Metrics   []MetricTarget `json:"metrics,omitempty"` // The largest answer wins. None is concurrency.
	Schedules []Schedule     `json:"schedules,omitempty"`
}

// UnmarshalJSON also reads values that were stored when there was one metric only.
func (s *Scaling) UnmarshalJSON(b []byte) error {
	type plain Scaling // Without this method.
	var one MetricTarget
	if err := json.Unmarshal(b, (*plain)(s)); err != nil {
		return fmt.Errorf("scaling: %w", err)
	}
	if err := json.Unmarshal(b, &one); err != nil {
		return fmt.Errorf("scaling: %w", err)
	}
	if one.Metric != "" && len(s.Metrics) == 0 {
		s.Metrics = []MetricTarget{one}
	}
	return nil
}
