package wadi

import (
	"encoding/json"
	"fmt"
	"time"
)

// Phase is where a revision stands in its life.
type Phase string

// The phases of a revision.
const (
	Pending Phase = "pending" // Not yet been ready.
	Ready   Phase = "ready"   // Was ready once; may be at zero.
	Failed  Phase = "failed"  // Did not become ready in time; gets no traffic.
	Retired Phase = "retired" // Not routed; its job is purged.
)

// State is what the leader remembers of a service. It is written on change only.
type State struct {
	Revisions map[string]RevisionState `json:"revisions"`
	Deleting  bool                     `json:"deleting,omitempty"`
}

// RevisionState is what the leader remembers of a revision.
type RevisionState struct {
	Phase        Phase     `json:"phase"`
	Since        time.Time `json:"since"` // When it entered Phase.
	WasReady     bool      `json:"was_ready,omitempty"`
	Reason       string    `json:"reason,omitempty"`
	StartFailure string    `json:"start_failure,omitempty"` // Why the last start of a ready revision failed; empty: it did not fail.
	Attempt      uint64    `json:"attempt,omitempty"`       // The service's attempt when it entered Phase.
	Deciders     Deciders  `json:"deciders,omitempty"`
}

// TriedAgain reports whether a revision that failed is to be tried again: the
// service's attempt is a later one.
func (r RevisionState) TriedAgain(attempt uint64) bool {
	return r.Phase == Failed && r.Attempt < attempt
}

// UnmarshalJSON reads what is stored, also from when there was one metric only.
func (r *RevisionState) UnmarshalJSON(b []byte) error {
	type plain RevisionState // Without this method.
	var old struct {
		Decider Decider `json:"decider"`
	}
	if err := json.Unmarshal(b, (*plain)(r)); err != nil {
		return fmt.Errorf("revision state: %w", err)
	}
	if err := json.Unmarshal(b, &old); err != nil {
		return fmt.Errorf("revision state: %w", err)
	}
	if old.Decider.Started && len(r.Deciders) == 0 {
		// Whichever it was of; the other is dropped at the next evaluation.
		r.Deciders = Deciders{Concurrency: old.Decider, RPS: old.Decider}
	}
	return nil
}

// Deciders is the memory of the scaling decision of one revision, by metric. A
// value is never changed in place.
type Deciders map[Metric]Decider

// Decider is the memory of the scaling decision of one revision by one metric.
type Decider struct {
	Started        bool          `json:"started,omitempty"`
	PanicSince     time.Time     `json:"panic_since,omitzero"` // Zero: not panicking.
	HighestInPanic int           `json:"highest_in_panic,omitempty"`
	Delay          []DelayBucket `json:"delay,omitempty"` // Oldest first.
}

// DelayBucket is the highest count wanted within two seconds.
type DelayBucket struct {
	Index int64 `json:"index"` // floor(unix seconds / 2).
	Max   int   `json:"max"`
}

// Condition is one statement about a service, as status shows it.
type Condition struct {
	Type    string    `json:"type"` // For instance Ready, or RoutesReady.
	OK      bool      `json:"ok"`
	Reason  string    `json:"reason,omitempty"` // One word.
	Message string    `json:"message,omitempty"`
	Since   time.Time `json:"since"`
}

// ConditionStored is the type of the condition that all that is stored of a service can
// be read. It is there only while it does not hold.
const ConditionStored = "Stored"

// PhaseUnknown is the phase of a service, in its status, whose phase can't be read.
const PhaseUnknown = "unknown"

// Unreadable is the condition that something of a service can't be read.
func Unreadable(why string) Condition {
	return Condition{Type: ConditionStored, Reason: "Unreadable", Message: why}
}

// Status is what the leader last saw of a service.
type Status struct {
	Service    string           `json:"service"`
	Generation uint64           `json:"generation"` // Of the spec that this status is about.
	URL        string           `json:"url,omitempty"`
	Phase      string           `json:"phase"` // pending, ready, failed, deleting or unknown.
	Conditions []Condition      `json:"conditions"`
	Traffic    []TargetStatus   `json:"traffic,omitempty"`
	Revisions  []RevisionStatus `json:"revisions"`
	Events     []Event          `json:"events,omitempty"` // The latest, oldest first.
}

// TargetStatus is a traffic target as it is, which may not yet be as submitted.
type TargetStatus struct {
	Revision string  `json:"revision"`
	Percent  float64 `json:"percent"`
	Tag      string  `json:"tag,omitempty"`
	URL      string  `json:"url,omitempty"` // Of the tag, for callers outside the mesh.
}

// RevisionStatus is what the leader last saw of a revision.
type RevisionStatus struct {
	ID      string  `json:"id"`
	Phase   Phase   `json:"phase"`
	Reason  string  `json:"reason,omitempty"`
	Percent float64 `json:"percent"` // Of the service's traffic.
	Created int64   `json:"created"` // Unix seconds.

	Exits []ExitStatus `json:"exits,omitempty"` // Of the last hour: at most eight, the latest last.

	Until time.Time `json:"until,omitzero"` // Of a pending one: when it fails, if it is not ready by then.

	// JobIndex is the JobModifyIndex at which Nomad's job was last known to be as it was
	// stored: who leads next need not ask again.
	JobIndex uint64 `json:"job_index,omitempty"`
}

// Event is something that Wadi did or saw, for people.
type Event struct {
	Time     time.Time `json:"time"`
	Service  string    `json:"service"`
	Revision string    `json:"revision,omitempty"`
	Type     string    `json:"type"` // One word, for instance Scaled or DriftCorrected.
	Message  string    `json:"message"`
}
