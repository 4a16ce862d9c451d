package wadi

import (
	"encoding/json"
	"fmt"
)

// SourceKind is the kind of a source of statistics.
type SourceKind string

// The kinds of sources.
const (
	SourceInstance  SourceKind = "instance"  // A queue-proxy: requests at its app, or waiting for it.
	SourceActivator SourceKind = "activator" // An activator: requests that it queues and forwards.
)

// Stats is the answer of a source to GET /v1/stats, as NDJSON: one of them by a
// queue-proxy, one for each revision by an activator.
type Stats struct {
	Source   string   `json:"source"` // Allocation ID, or agent name.
	Boot     string   `json:"boot"`   // Changes when the source restarts.
	Now      int64    `json:"now"`    // The source's current second; its samples are of earlier ones.
	Revision string   `json:"revision"`
	Samples  []Sample `json:"samples"`

	// Outcomes are what the source has answered since its start: a queue-proxy for its
	// instance, an activator in place of instances that no request reached. Nil: it is of an
	// older Wadi, and they are not known.
	Outcomes *Outcomes `json:"outcomes,omitempty"`
}

// Sample is the load of one whole second of a source's own monotonic clock, counted from
// its start. In JSON it is an array in the order of the fields.
type Sample struct {
	N                  int64   // Number of the second.
	Concurrency        float64 // Time-weighted average of requests in flight or waiting.
	ConcurrencyProxied float64 // The part of it that came through an activator.
	Begun              float64 // Requests begun.
	BegunProxied       float64 // The part of it that came through an activator.
}

// MarshalJSON writes s as an array of five numbers.
func (s Sample) MarshalJSON() ([]byte, error) {
	return json.Marshal([5]float64{float64(s.N), s.Concurrency, s.ConcurrencyProxied, s.Begun, s.BegunProxied})
}

// UnmarshalJSON reads the format of MarshalJSON.
func (s *Sample) UnmarshalJSON(b []byte) error {
	var a []float64
	if err := json.Unmarshal(b, &a); err != nil {
		return fmt.Errorf("sample: %w", err)
	}
	if len(a) != 5 {
		return fmt.Errorf("sample: want 5 numbers, got %d", len(a))
	}
	*s = Sample{N: int64(a[0]), Concurrency: a[1], ConcurrencyProxied: a[2], Begun: a[3], BegunProxied: a[4]}
	return nil
}
