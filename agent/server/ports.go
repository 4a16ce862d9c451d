package server

import (
	"context"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission"
	"github.com/wadi-run/wadi/api"
)

// Admission validates and stores submissions, and orders about traffic and rollouts.
type Admission interface {
	Submit(ctx context.Context, r admission.Request) (api.Submitted, error)
	Validate(ctx context.Context, r admission.Request) (api.Submitted, error)
	Plan(ctx context.Context, r admission.Request) (api.Plan, error)
	SetTraffic(ctx context.Context, o admission.Order, targets []api.Target) (api.TrafficSet, error)
	Rollback(ctx context.Context, o admission.Order, to string) (api.TrafficSet, error)
	OrderRollout(ctx context.Context, o admission.Order, action wadi.RolloutAction) (api.RolloutOrdered, error)
	// MayRemove checks the caller's right in Consul to delete a service.
	MayRemove(ctx context.Context, service wadi.Service, consulToken string) error
}

// Store is what the API reads and marks. What does not exist is wadi.ErrNotFound, what
// can't be decoded wadi.ErrUnreadable.
type Store interface {
	Specs
	Overrides
	Marks
	Status(ctx context.Context, name string) (wadi.Status, error)
	Route(ctx context.Context, name string) (wadi.Route, error)
	Revisions(ctx context.Context, service string) ([]wadi.Revision, error)
	// LoadHistory is the kept load of a service.
	LoadHistory(ctx context.Context, service string) (wadi.LoadHistory, error)
	// State is the leader's memory of a service.
	State(ctx context.Context, service string) (wadi.State, error)
}

// Changes knows when what the API shows has changed.
type Changes interface {
	// Index returns the index of the last change of a service, or of any if service is
	// empty; 0: there is no such service.
	Index(ctx context.Context, service string) (uint64, error)
	// Wait returns once that index is another than index, or with nil when ctx ends.
	Wait(ctx context.Context, service string, index uint64) error
}

// Specs are the stored services.
type Specs interface {
	// Services returns the names of all services, sorted.
	Services(ctx context.Context) ([]string, error)
	// Spec returns a service, and the index to check and set it by.
	Spec(ctx context.Context, name string) (wadi.Spec, uint64, error)
	// MarkDeleting marks a service if its spec is still at index.
	MarkDeleting(ctx context.Context, name string, index uint64) error
}

// Overrides are the counts that users set for a time.
type Overrides interface {
	// Overrides returns those of a service by revision, expired ones included.
	Overrides(ctx context.Context, service string) (map[string]wadi.Override, error)
	// PutOverride stores an override; the zero value ends it.
	PutOverride(ctx context.Context, service, revision string, h wadi.Override, now time.Time) error
}

// Marks are what callers want of single revisions.
type Marks interface {
	// Marks returns those of a service by revision.
	Marks(ctx context.Context, service string) (map[string]wadi.Mark, error)
	// MarkRevision stores the mark that decide returns for what is stored; the zero value
	// ends it. An error of decide is the answer.
	MarkRevision(ctx context.Context, service, id string, decide func(wadi.Marked) (wadi.Mark, error)) error
}

// Rights asks Nomad what a token may do in a namespace. nil is yes; no wraps
// wadi.ErrForbidden.
type Rights interface {
	MaySubmit(ctx context.Context, token, namespace string) error
	MayRead(ctx context.Context, token, namespace string) error
	MayScale(ctx context.Context, token, namespace string) error
	Tokens
}

// Tokens asks Nomad about tokens.
type Tokens interface {
	// Readable returns the namespaces among the given that the token may read. The error
	// wraps wadi.ErrForbidden only for an unknown token, and for a missing one.
	Readable(ctx context.Context, token string, namespaces []string) (map[string]bool, error)
	// Known reports whether Nomad has ACLs; its error is as that of Readable.
	Known(ctx context.Context, token string) (acls bool, err error)
	// TokenName is the name of the token; empty: unknown.
	TokenName(ctx context.Context, token string) string
}

// Decisions is the leader's history of scaling decisions.
type Decisions interface {
	// Of returns the decisions about a revision, oldest first.
	Of(revision string) []wadi.Decision
}

// Events are the leader's latest events.
type Events interface {
	// Since returns the kept events from an index on, the index to ask for next, and a
	// channel that is closed when there are more.
	Since(index uint64) (events []wadi.Event, next uint64, changed <-chan struct{})
	// Loading reports whether those of earlier leaders are still being read.
	Loading() bool
}

// Leadership knows the leader.
type Leadership interface {
	// Leader returns the leading agent's name and the base URL of its API; an empty
	// name while no agent leads.
	Leader() (name, url string)
}
