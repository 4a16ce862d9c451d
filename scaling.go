package wadi

// Metric names what a scaling target counts.
type Metric string

// The metrics by which a revision can be scaled.
const (
	Concurrency Metric = "concurrency" // Requests in flight or waiting.
	RPS         Metric = "rps"         // Requests begun per second.
)

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
	DryRun        bool     `json:"dry_run"`     // Decide and show, don't carry out.
	ManualHold    Duration `json:"manual_hold"` // How long a count set by hand in Nomad stands.

	Metric      Metric  `json:"metric"`
	Target      float64 `json:"target"`      // Per instance; 0 is the metric's default.
	Utilization float64 `json:"utilization"` // Share of the target that one instance should carry.
}
