package wadi

import "time"

// Decision is one answer of the autoscaler for one revision, with its inputs. The command
// line, the API and Nomad's scaling history show the same value. The decisions that are
// kept of a revision are its history.
type Decision struct {
	Time     time.Time `json:"time"`
	Revision string    `json:"revision"`

	// Of the metric that decided.
	Metric        Metric  `json:"metric,omitempty"`
	Stable        float64 `json:"stable"`         // Average over the window.
	Panic         float64 `json:"panic"`          // Average over the panic window.
	Target        float64 `json:"target"`         // Load that one instance should carry; 0: one instance is wanted for any load.
	Coverage      float64 `json:"coverage"`       // Share of the window's seconds with samples, 0 to 1.
	PanicCoverage float64 `json:"panic_coverage"` // Share of the panic window's seconds with samples.

	Readings []Reading `json:"readings,omitempty"` // One for each metric, if there are several.
	Sampled  bool      `json:"sampled,omitempty"`  // Only a sample of the sources was read: there are too many for all.

	Ready    int `json:"ready"`
	Starting int `json:"starting"`          // Placed or requested, and not ready.
	Pulling  int `json:"pulling,omitempty"` // Of those that start: their images are pulled now.
	Count    int `json:"count"`             // In Nomad, at Time.

	Wanted    int  `json:"wanted"`  // Before bounds.
	Desired   int  `json:"desired"` // After bounds.
	Panicking bool `json:"panicking"`
	Valid     bool `json:"valid"` // False: the samples are too few, and the count stays.

	Floor   Bound `json:"floor,omitzero"`   // Lower bound in force; zero: none.
	Ceiling Bound `json:"ceiling,omitzero"` // Upper bound in force; zero: none.

	PanicSince    time.Time `json:"panic_since,omitzero"`    // Zero: no panic.
	OverrideUntil time.Time `json:"override_until,omitzero"` // Until when an override, or a count set by hand in Nomad, stands.
	ZeroAt        time.Time `json:"zero_at,omitzero"`        // When zero is permitted, if no request comes; zero: never.
	StartUntil    time.Time `json:"start_until,omitzero"`    // Until when the decision waits for a starting instance; zero: it does not.
	PausedUntil   time.Time `json:"paused_until,omitzero"`   // Until when no instance is started, because its image could not be had; zero: that is not so.

	Rule     string `json:"rule"`   // Name of the rule that decided.
	Reason   string `json:"reason"` // Explanation, in one sentence.
	Executed bool   `json:"executed"`
	WhyNot   string `json:"why_not,omitempty"` // Why it was not executed.
	Times    int    `json:"times"`             // Number of equal decisions in a row that this one stands for.
}

// Reading is the part of a decision that comes from one metric.
type Reading struct {
	Metric        Metric  `json:"metric"`
	Stable        float64 `json:"stable"`
	Panic         float64 `json:"panic"`
	Target        float64 `json:"target"` // Load that one instance should carry; 0: one instance is wanted for any load.
	Coverage      float64 `json:"coverage"`
	PanicCoverage float64 `json:"panic_coverage"`
	Wanted        int     `json:"wanted"`
	Panicking     bool    `json:"panicking"`
	Valid         bool    `json:"valid"` // False: the samples are too few, and the metric does not count.
}

// Bound is a lower or upper bound of a count.
type Bound struct {
	Count int       `json:"count"`
	By    string    `json:"by"`             // Its origin: min, schedule, initial, override, max or ceiling.
	Name  string    `json:"name,omitempty"` // Name of the schedule.
	Until time.Time `json:"until,omitzero"` // Zero: it does not end by itself.
}
