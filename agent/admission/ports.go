package admission

import (
	"context"
	"encoding/json"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/admission/images"
	"github.com/wadi-run/wadi/agent/plan"
)

// Store is the part of the store that admission uses. Its errors wrap the root package's
// ErrNotFound, ErrConflict, ErrTooLarge and ErrUnavailable.
type Store interface {
	Services
	Submissions
}

// Services are the stored services.
type Services interface {
	// Spec returns a service and the index to check and set it by.
	Spec(ctx context.Context, name string) (wadi.Spec, uint64, error)
	// Revisions returns all stored revisions of a service, in any order.
	Revisions(ctx context.Context, service string) ([]wadi.Revision, error)
	// State returns the leader's memory of a service.
	State(ctx context.Context, service string) (wadi.State, error)
	// Status returns a service as the leader last saw it.
	Status(ctx context.Context, name string) (wadi.Status, error)
	// Services returns the names of all services.
	Services(ctx context.Context) ([]string, error)
	// Marks returns the marks of a service's revisions.
	Marks(ctx context.Context, service string) (map[string]wadi.Mark, error)
	// Route returns the stored route of a service.
	Route(ctx context.Context, service string) (wadi.Route, error)
	// Domains returns the service that claims each domain.
	Domains(ctx context.Context) (map[string]string, error)
}

// Submissions stores services.
type Submissions interface {
	// Fits returns ErrTooLarge if Submit would refuse the services as too much at once.
	Fits(ctx context.Context, all []wadi.Submission) error
	// Submit stores all or none, and returns the new index of each service. It refuses a
	// domain of another service with a [*wadi.DomainTakenError], and a name that another
	// service or a tag has with a [*wadi.NameTakenError].
	Submit(ctx context.Context, all []wadi.Submission) (map[string]uint64, error)
}

// Parser is Nomad's parser. An error that wraps none of the root package's sentinels is the
// parser's own complaint about the job.
type Parser interface {
	ParseJob(ctx context.Context, token, namespace, jobHCL, variables string) ([]byte, error)
}

// Jobs are Nomad's jobs, always with the caller's token.
type Jobs interface {
	// PlanJob has Nomad validate the job with a count, and try to place its instances,
	// without registering it. With diff it is compared with Nomad's job of that ID. An error
	// that wraps none of the sentinels is Nomad's refusal.
	PlanJob(ctx context.Context, token string, job json.RawMessage, count int, diff bool) (JobPlan, error)
	// MayRegister returns nil, or an error that wraps ErrForbidden if the token may not
	// register this very job, which may need more than the right to submit.
	MayRegister(ctx context.Context, token string, job json.RawMessage) error
	// RegisterAt registers the job if Nomad's job of that ID is still at index; 0: if
	// there is none. Else the error wraps ErrConflict. It returns the job's new index.
	RegisterAt(ctx context.Context, token string, job json.RawMessage, index uint64) (uint64, error)
	// Job returns a job, or ErrNotFound.
	Job(ctx context.Context, token, namespace, id string) (Job, error)
	// Purge removes a job.
	Purge(ctx context.Context, token, namespace, id string) error
}

// Rights asks Nomad what a token may do.
type Rights interface {
	// MaySubmit returns nil, or an error that wraps ErrForbidden or ErrUnavailable.
	MaySubmit(ctx context.Context, token, namespace string) error
	// MayRead is MaySubmit for the right to read jobs.
	MayRead(ctx context.Context, token, namespace string) error
	// Known reports whether Nomad has ACLs. The error wraps ErrForbidden for an unknown
	// token, and for a missing one if the anonymous token has no rights.
	Known(ctx context.Context, token string) (acls bool, err error)
	// TokenName is the name of the token; empty: unknown.
	TokenName(ctx context.Context, token string) string
}

// Nomad is all that admission needs of Nomad.
type Nomad interface {
	Parser
	Jobs
	Rights
}

// Job is the part of a job in Nomad that admission uses.
type Job struct {
	Meta        map[string]string
	Count       int    // Of all its groups; 0 for a job that was stopped.
	ModifyIndex uint64 // JobModifyIndex.
}

// JobPlan is Nomad's plan of a job.
type JobPlan struct {
	Warnings string
	Diff     wadi.Change
	Placed   int    // Instances that Nomad would place.
	Unplaced string // Why it can't place all; empty: it can.
	Unknown  bool   // Nomad validated the job and planned nothing: the token is a workload's identity.
}

// Entries are Consul's config entries.
type Entries interface {
	// Preview returns what a route would make of the entries of its service.
	Preview(ctx context.Context, r wadi.Route) (plan.Entries, error)
}

// Catalog is Consul's catalog.
type Catalog interface {
	// ForeignService returns the kind of an entry of that name which Wadi does not manage:
	// "service", healthy or not, or the kind of a config entry that routes the name.
	// Empty: there is none.
	ForeignService(ctx context.Context, name string) (what string, err error)
}

// IntentionRights asks Consul what a token may do.
type IntentionRights interface {
	// MayWriteIntentions returns nil, or an error that wraps ErrForbidden or
	// ErrUnavailable. An empty token is that of a caller without one.
	MayWriteIntentions(ctx context.Context, token, service string) error
}

// Registries are the registries of images.
type Registries interface {
	// Resolve returns the digest of the image that a name has at its registry now. The
	// text of its error is for callers: it names the image, what is wrong and what to do.
	Resolve(ctx context.Context, image string) (digest string, err error)
	// Config reads the config of an image that has this digest at its registry. The text
	// of its error is for the log.
	Config(ctx context.Context, image, digest string) (images.Config, error)
}
