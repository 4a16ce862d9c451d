package wadi

import "time"

// Phase is where a revision stands in its life.
type Phase string

// The phases of a revision.
const (
	Pending Phase = "pending" // Never ready so far.
	Ready   Phase = "ready"   // Ready once; may be at zero.
	Failed  Phase = "failed"  // Not ready in time; gets no traffic.
	Retired Phase = "retired" // Not routed; its job is purged.
)

// Condition is one statement about a service, as status shows it.
type Condition struct {
	Type    string    `json:"type"` // For instance Ready, or RoutesReady.
	OK      bool      `json:"ok"`
	Reason  string    `json:"reason,omitempty"` // One word, such as Blocked.
	Message string    `json:"message,omitempty"`
	Since   time.Time `json:"since"`
}

// ConditionStored is the type of the condition that everything stored of a service can be
// read. It is shown only while it is false.
const ConditionStored = "Stored"

// PhaseUnknown is the phase, in its status, of a service that can't be read.
const PhaseUnknown = "unknown"

// Unreadable is the false condition ConditionStored.
func Unreadable(why string) Condition {
	return Condition{Type: ConditionStored, Reason: "Unreadable", Message: why}
}

// Status is a service as the leader last saw it. It is stored, and the API shows it.
type Status struct {
	Service    string           `json:"service"`
	Generation uint64           `json:"generation"` // Of the spec that this status describes.
	URL        string           `json:"url,omitempty"`
	Phase      string           `json:"phase"` // pending, ready, failed, deleting or unknown.
	Conditions []Condition      `json:"conditions"`
	Traffic    []TargetStatus   `json:"traffic,omitempty"`
	Rollout    *RolloutStatus   `json:"rollout,omitempty"` // Nil: there was none.
	Revisions  []RevisionStatus `json:"revisions"`
	Events     []Event          `json:"events,omitempty"` // The latest, oldest first.
}

// TargetStatus is a traffic target as it is, which may not yet be as submitted.
type TargetStatus struct {
	Revision string  `json:"revision"`
	Percent  float64 `json:"percent"`          // That it has.
	Wanted   float64 `json:"wanted,omitempty"` // That it has once its revision is ready, and its rollout done.
	Tag      string  `json:"tag,omitempty"`
	URL      string  `json:"url,omitempty"` // Of the tag, for callers outside the mesh.
}

// RevisionStatus is a revision as the leader last saw it.
type RevisionStatus struct {
	ID      string  `json:"id"`
	Phase   Phase   `json:"phase"`
	Reason  string  `json:"reason,omitempty"`
	Percent float64 `json:"percent"`          // Of the service's traffic, that it has.
	Wanted  float64 `json:"wanted,omitempty"` // That it has once it is ready, and its rollout done.
	Created int64   `json:"created"`          // Unix seconds.

	Images []Image `json:"images,omitempty"`

	Exits []ExitStatus `json:"exits,omitempty"` // Of the last hour: at most eight, the latest last.

	Prefetching bool   `json:"prefetching,omitempty"` // It does not start before its images are on the nodes.
	Prefetch    string `json:"prefetch,omitempty"`    // How far they are, or how that ended.

	Until time.Time `json:"until,omitzero"` // When a pending revision fails, unless it is ready by then.

	// JobIndex is the JobModifyIndex at which Nomad's job was last known to be equal to
	// the stored one. It saves the next leader the comparison.
	JobIndex uint64 `json:"job_index,omitempty"`
}
