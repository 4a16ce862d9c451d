package wadi

import "fmt"

// Spec is a service as it is stored: what a user submitted, and what admission noted.
type Spec struct {
	Service    Service           `json:"service"`
	File       string            `json:"file"` // Name of the file with Source.
	Source     string            `json:"source"`
	Variables  map[string]string `json:"variables,omitempty"`
	Generation uint64            `json:"generation"`        // Grows by one with every change.
	Latest     string            `json:"latest"`            // ID of the newest revision.
	Attempt    uint64            `json:"attempt,omitempty"` // Generation at which failed revisions were last to be tried again.
	Deleting   bool              `json:"deleting,omitempty"`
	Order      RolloutOrder      `json:"rollout_order,omitzero"`
	Submitted  int64             `json:"submitted"` // Unix seconds.

	// TrafficOrder says how the traffic was set, if not by the file.
	TrafficOrder TrafficOrder `json:"traffic_order,omitzero"`

	// Applied is the generation of the last submission, if calls about the traffic or a
	// rollout have changed the service since; 0: it is Generation.
	Applied uint64 `json:"applied,omitempty"`
}

// Submission is one service to be stored.
type Submission struct {
	Spec        Spec
	Index       uint64    // Index at which the spec must be stored now; 0: it must not be.
	NewRevision *Revision // Stored with the spec; nil: none.
}

// Stored is everything that is stored of one service, read at one moment. It leaves out
// the source text of the [Spec].
type Stored struct {
	Service    Service
	Latest     string // ID of the newest revision.
	Generation uint64
	Attempt    uint64 // Revisions that failed at an earlier attempt are tried again.
	Deleting   bool
	Order      RolloutOrder

	TrafficOrder TrafficOrder

	Revisions []Revision // Oldest first.
	State     State
	Status    Status
	Route     Route // Zero: none.

	// Overrides are by revision, expired ones included; "" is the revision with most of
	// the traffic.
	Overrides map[string]Override

	// Marks are by revision.
	Marks map[string]Mark

	// Unreadable says, for each revision that can't be read and is not needed, why.
	Unreadable []string
}

// Needs reports whether the service can't be reconciled without a revision: it is the
// newest, or has or shall have traffic.
func (s *Stored) Needs(revision string) bool {
	if _, routed := s.Route.Revisions[revision]; routed || revision == s.Latest {
		return true
	}
	for _, t := range s.Service.Traffic {
		if t.Revision == revision {
			return true
		}
	}
	for _, rule := range s.Service.Routes {
		if rule.Revision == revision {
			return true
		}
	}
	return false
}

// DomainTakenError refuses Service a domain that belongs to the service Holder. It is
// [ErrConflict].
type DomainTakenError struct{ Domain, Service, Holder string }

func (e *DomainTakenError) Error() string {
	return fmt.Sprintf("the domain %q belongs to the service %q: %v", e.Domain, e.Holder, ErrConflict)
}

// Unwrap makes it a conflict.
func (e *DomainTakenError) Unwrap() error { return ErrConflict }

// NameTakenError refuses Service a name, its own or a tag's, that the service Holder or a
// tag of it has. It is [ErrConflict].
type NameTakenError struct{ Name, Service, Holder string }

func (e *NameTakenError) Error() string {
	return fmt.Sprintf("the name %q belongs to the service %q: %v", e.Name, e.Holder, ErrConflict)
}

// Unwrap makes it a conflict.
func (e *NameTakenError) Unwrap() error { return ErrConflict }
