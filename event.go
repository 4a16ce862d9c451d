package wadi

import "time"

// Event is an action or an observation of Wadi, for people.
type Event struct {
	Time     time.Time `json:"time"`
	Service  string    `json:"service"`
	Revision string    `json:"revision,omitempty"`
	Type     string    `json:"type"` // One word, for instance Scaled or DriftCorrected.
	Message  string    `json:"message"`

	// Index grows from event to event, over all agents that led. It is not consecutive.
	Index     uint64 `json:"index,omitempty"`
	Namespace string `json:"namespace,omitempty"` // Of the service then; empty: unknown.
}
