package wadi

import (
	"encoding/json"
	"fmt"
	"time"
)

// State is the leader's memory of a service. It is written on change only.
type State struct {
	Revisions map[string]RevisionState `json:"revisions"`
	Deleting  bool                     `json:"deleting,omitempty"`
	Rollout   *RolloutState            `json:"rollout,omitempty"` // Nil: there was none. Never changed in place.
}

// RevisionState is the leader's memory of a revision.
type RevisionState struct {
	Phase        Phase     `json:"phase"`
	Since        time.Time `json:"since"` // When it entered Phase.
	WasReady     bool      `json:"was_ready,omitempty"`
	Reason       string    `json:"reason,omitempty"`
	StartFailure string    `json:"start_failure,omitempty"` // Why the last start of a ready revision failed; empty: it did not fail.
	Prefetch     string    `json:"prefetch,omitempty"`      // How fetching its images ended, since it is pending; empty: it has not.
	Attempt      uint64    `json:"attempt,omitempty"`       // The service's attempt when it entered Phase, or was rejected.
	Rejected     string    `json:"rejected,omitempty"`      // Why "latest" does not stand for it although it is ready: its rollout was aborted, or rolled back; empty: it may.
	Deciders     Deciders  `json:"deciders,omitempty"`
}

// Servable reports whether a revision was ready and has not failed since: its job, if it is
// gone, can be put back.
func (r RevisionState) Servable() bool {
	return r.Phase == Ready || r.Phase == Retired && r.WasReady
}

// TriedAgain reports whether a failed revision is to be tried again, because the
// service's attempt is later than its own.
func (r RevisionState) TriedAgain(attempt uint64) bool {
	return r.Phase == Failed && r.Attempt < attempt
}

// Forgiven reports whether a rejected revision may be "latest" again, because the service's
// attempt is later than the one at which it was rejected.
func (r RevisionState) Forgiven(attempt uint64) bool {
	return r.Rejected != "" && r.Attempt < attempt
}

// UnmarshalJSON also reads values that were stored when there was one metric only.
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
		// The stored value does not name its metric; the next evaluation drops the wrong one.
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
