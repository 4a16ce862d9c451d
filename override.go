package wadi

import "time"

// Override is a count that a caller set for a time. It overrides the load, Min and schedules,
// but not Max.
type Override struct {
	Count int       `json:"count"`
	Until time.Time `json:"until"`
	By    string    `json:"by,omitempty"` // Name of the caller's token; empty: unknown.
}

// Active reports whether o is in force at now. The zero value never is.
func (o Override) Active(now time.Time) bool { return now.Before(o.Until) }
