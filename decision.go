package wadi

import "time"

// Decision is one answer of the autoscaler for one revision, with what it was
// made from. The same value is shown by the command line, the API and Nomad's
// scaling history.
type Decision struct {
	Time     time.Time `json:"time"`
	Revision string    `json:"revision"`

	Stable   float64 `json:"stable"` // Average over the window, of the metric.
	Panic    float64 `json:"panic"`  // Average over the panic window.
	Ready    int     `json:"ready"`
	Starting int     `json:"starting"` // Placed or asked for, and not ready.
	Count    int     `json:"count"`    // In Nomad, when it was decided.
	Coverage float64 `json:"coverage"` // Share of the window's seconds that are known, 0 to 1.

	Wanted    int  `json:"wanted"`  // Before bounds.
	Desired   int  `json:"desired"` // After bounds.
	Panicking bool `json:"panicking"`
	Valid     bool `json:"valid"` // False: nothing changes.

	Rule    string `json:"rule"`   // Which rule decided; one of few words.
	Reason  string `json:"reason"` // In words.
	Carried bool   `json:"carried"`
	WhyNot  string `json:"why_not,omitempty"` // Why it was not carried out.
	Times   int    `json:"times"`             // How many equal decisions in a row this stands for.
}
