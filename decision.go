package wadi

import "time"

// Decision is one answer of the autoscaler for one revision, with what it was
// made from. The same value is shown by the command line, the API and Nomad's
// scaling history.
type Decision struct {
	Time     time.Time `json:"time"`
	Revision string    `json:"revision"`

	// Of the metric that decided:
	Metric        Metric  `json:"metric,omitempty"`
	Stable        float64 `json:"stable"`         // Average over the window.
	Panic         float64 `json:"panic"`          // Average over the panic window.
	Target        float64 `json:"target"`         // What one instance should carry; 0: one instance is wanted for any load.
	Coverage      float64 `json:"coverage"`       // Share of the window's seconds that are known, 0 to 1.
	PanicCoverage float64 `json:"panic_coverage"` // The same of the panic window.

	Readings []Reading `json:"readings,omitempty"` // Of every metric, if there are several.
	Sampled  bool      `json:"sampled,omitempty"`  // Not every source was read: there are too many.

	Ready    int `json:"ready"`
	Starting int `json:"starting"` // Placed or asked for, and not ready.
	Count    int `json:"count"`    // In Nomad, when it was decided.

	Wanted    int  `json:"wanted"`  // Before bounds.
	Desired   int  `json:"desired"` // After bounds.
	Panicking bool `json:"panicking"`
	Valid     bool `json:"valid"` // False: nothing changes.

	Floor   Bound `json:"floor,omitzero"`   // In force; zero: none.
	Ceiling Bound `json:"ceiling,omitzero"` // In force; zero: none.

	PanicSince    time.Time `json:"panic_since,omitzero"`    // Zero: no panic.
	OverrideUntil time.Time `json:"override_until,omitzero"` // Until when an override, or a count set by hand in Nomad, stands.
	ZeroAt        time.Time `json:"zero_at,omitzero"`        // When zero is permitted, if no request comes; zero: it is not.
	StartUntil    time.Time `json:"start_until,omitzero"`    // Until when an instance that starts is waited for; zero: none is.

	Rule     string `json:"rule"`   // Which rule decided; one of few words.
	Reason   string `json:"reason"` // In words.
	Executed bool   `json:"executed"`
	WhyNot   string `json:"why_not,omitempty"` // Why it was not executed.
	Times    int    `json:"times"`             // How many equal decisions in a row this stands for.
}

// Reading is what one metric says.
type Reading struct {
	Metric        Metric  `json:"metric"`
	Stable        float64 `json:"stable"`
	Panic         float64 `json:"panic"`
	Target        float64 `json:"target"` // What one instance should carry; 0: one instance is wanted for any load.
	Coverage      float64 `json:"coverage"`
	PanicCoverage float64 `json:"panic_coverage"`
	Wanted        int     `json:"wanted"`
	Panicking     bool    `json:"panicking"`
	Valid         bool    `json:"valid"` // False: too little is known, and it has no say.
}

// Bound is a lower or upper bound of a count.
type Bound struct {
	Count int       `json:"count"`
	By    string    `json:"by"`             // Where it comes from: min, schedule, initial, override, max or ceiling.
	Name  string    `json:"name,omitempty"` // Of the schedule.
	Until time.Time `json:"until,omitzero"` // When it ends; zero: it does not by itself.
}
