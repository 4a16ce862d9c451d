package control

import (
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// service is what the controller knows of one service.
type service struct {
	wadi.Stored
	published *wadi.Stored // An immutable copy; nil: Stored has changed since, and a copy is due.
	resting   bool         // The last pass had nothing to do, and only news can change that.

	networkState

	measured measured // What the meter is told of it.
	passed   uint64   // The last pass that reconciled it; 0: none, or it is to go first.

	retry     time.Time // When to reconcile again after an error.
	backoff   time.Duration
	lastError string // Of the last pass; empty: it succeeded.

	pastEvents []wadi.Event // Of earlier terms, as stored.
	termBegan  time.Time    // When this term's leader first read the service.

	pending        map[string]pendingWait    // Of its pending revisions.
	noted          map[string]*revisionNotes // By revision.
	missingCallers []string                  // Of Wadi's own identities, by intentions that Wadi does not manage.
	callersKnown   bool                      // missingCallers is known.
	moved          time.Time                 // When the weights were last moved in this term.
	reasoned       time.Time                 // When the rollout's reason was last stored.
	warming        map[string]int            // By revision: see [scheduler.Warming].
	domains        []wadi.Domain             // With what is known of their certificates.
	usageUnread    []string                  // Revisions whose instances' usage can't be read, and why.
}

// desired is what was submitted, for a plan; without the agent's retention.
func (s *service) desired() scheduler.Desired {
	return scheduler.Desired{
		Service: s.Service, Latest: s.Latest, Attempt: s.Attempt, Deleting: s.Deleting, Order: s.Order,
		Revisions: s.Revisions, State: s.State, Marks: s.Marks,
	}
}

// networkState is what is known of a service's route in the network layers.
type networkState struct {
	programmed        bool
	checked           bool      // It was read back since the last recheck.
	whyNot            string    // Why it is not programmed.
	foreign           bool      // It can't be: foreign entries are in the way.
	applied           time.Time // When the stored route was last applied.
	edited            bool      // It was programmed, and something was edited since.
	repeatedEdits     int       // Edits in a row, each soon after the one before was undone.
	leftovers         bool      // The layers may have something of the service.
	deletedRouteSince time.Time // Since when no caller is to be routed to the service; zero: callers are.
}
