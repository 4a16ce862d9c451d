// Package admission decides whether what a user submits may be stored, and
// stores it.
//
// It promises all or nothing: every mistake of every file is reported at once;
// a revision's job is accepted by Nomad under the caller's own token before
// anything is stored; and if storing fails, the jobs that this submission
// registered are removed again. It refuses to scale, to start or to stop
// anything: jobs are registered at count 0, and what happens next is the
// controller's.
package admission

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/jobspecs"
)

// Metas of a revision's job by which admission knows it for Wadi's.
const (
	metaService  = "wadi_service"
	metaSpecHash = "wadi_spec_hash"
)

// Store is what admission needs of the store. Errors are the root package's:
// ErrNotFound, ErrConflict, ErrTooLarge, ErrUnavailable.
type Store interface {
	// Spec returns a service and the index to check and set it by.
	Spec(ctx context.Context, name string) (wadi.Spec, uint64, error)
	// Revisions returns all stored revisions of a service, in any order.
	Revisions(ctx context.Context, service string) ([]wadi.Revision, error)
	// State returns what the leader remembers of a service; ErrNotFound if nothing.
	State(ctx context.Context, service string) (wadi.State, error)
	// Services returns the names of all services.
	Services(ctx context.Context) ([]string, error)
	// Domains returns the service that claims each domain.
	Domains(ctx context.Context) (map[string]string, error)
	// Fits is ErrTooLarge for what Submit would refuse as too much at once.
	Fits(ctx context.Context, all []wadi.Submission) error
	// Submit stores all or none, and returns the new index of each service. A
	// domain of another service is refused with a [*wadi.DomainTakenError], and a name that is
	// another service's or a tag's with a [*wadi.NameTakenError].
	Submit(ctx context.Context, all []wadi.Submission) (map[string]uint64, error)
}

// Parser is Nomad's parser. An error that wraps none of the root package's
// sentinels is the parser's own text about the job.
type Parser interface {
	ParseJob(ctx context.Context, token, namespace, jobHCL, variables string) ([]byte, error)
}

// Jobs is what admission does with jobs, always with the caller's token.
type Jobs interface {
	// PlanJob has Nomad judge the job without registering it. An error that
	// wraps none of the sentinels is Nomad's refusal.
	PlanJob(ctx context.Context, token string, job json.RawMessage) (warnings string, err error)
	// RegisterAt registers the job if the one of its ID is still at index; 0: if
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
	// Known says whether tokens mean anything. The error wraps ErrForbidden for a token that
	// Nomad does not know, and for none where nobody without one may do a thing.
	Known(ctx context.Context, token string) (acls bool, err error)
}

// Nomad is all that admission needs of Nomad.
type Nomad interface {
	Parser
	Jobs
	Rights
}

// Job is what admission wants to know of a job at Nomad.
type Job struct {
	Meta        map[string]string
	Count       int    // Of all its groups; 0 for a job that was stopped.
	ModifyIndex uint64 // JobModifyIndex.
}

// Catalog is Consul's catalog.
type Catalog interface {
	// ForeignService says what Consul has of that name that isn't Wadi's: "service",
	// whether its checks pass or not, or the kind of a config entry that says where
	// the name leads. Empty: nothing.
	ForeignService(ctx context.Context, name string) (what string, err error)
}

// Config is what New needs. All fields but Now, Log and GatewayDomain are required.
type Config struct {
	Store   Store
	Nomad   Nomad
	Catalog Catalog

	Intentions      IntentionRights // Not needed with AllowIntentions.
	AllowIntentions bool            // Who may submit a service may say who calls it.

	Defaults jobspecs.Defaults
	Limits   jobspecs.Limits
	Agent    jobspecs.Agent // What of the agent goes into a rendered job.

	// Installation is what goes into a rendered job as Agent.Installation, which is known
	// only when Consul has been asked. Nil: it is not.
	Installation func() string

	MaxBytes      int    // Of all files of a submission together; 0 is 1 MiB.
	GatewayDomain string // Names right below it belong to the services of these names.

	Now func() time.Time
	Log hclog.Logger
}

// Admission admits services. It keeps no state, and may be used concurrently.
type Admission struct{ Config }

// New returns an Admission, or an error when c lacks something.
func New(c Config) (*Admission, error) {
	if c.Store == nil || c.Nomad == nil || c.Catalog == nil {
		return nil, fmt.Errorf("admission: store, Nomad and catalog are required")
	}
	if c.Intentions == nil && !c.AllowIntentions {
		return nil, fmt.Errorf("admission: whose intentions may be written can't be asked")
	}
	if c.MaxBytes <= 0 {
		c.MaxBytes = 1 << 20
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = hclog.NewNullLogger()
	}
	return &Admission{Config: c}, nil
}

// Request is a submission, and its caller.
type Request struct {
	api.Submission

	NomadToken  string // The caller's. Every job is registered with it.
	ConsulToken string // The caller's, for what needs a right of theirs in Consul.

	// Scan waits until the files may be scanned for their namespaces, which takes memory;
	// the caller calls done afterwards. Nil: at once.
	Scan func(context.Context) (done func(), err error)

	// Evaluate waits until the files may be evaluated, after the caller's right to submit
	// them is known. The rest of the work uses the context that it returns. Nil: at once.
	Evaluate func() (context.Context, error)
}

// Submit admits and stores all services of the request, or none. What it
// refuses is an *Error; other errors wrap the root package's sentinels.
func (a *Admission) Submit(ctx context.Context, r Request) (api.Submitted, error) {
	adm, err := a.examine(ctx, r)
	if err != nil {
		return api.Submitted{}, err
	}
	// From here on a caller that goes away changes nothing: half a submission
	// would have to be undone anyway.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	if err := a.commit(ctx, r.NomadToken, adm); err != nil {
		return api.Submitted{}, err
	}
	return adm.response(), nil
}

// Validate does all that Submit does short of registering and storing.
func (a *Admission) Validate(ctx context.Context, r Request) (api.Submitted, error) {
	adm, err := a.examine(ctx, r)
	if err != nil {
		return api.Submitted{}, err
	}
	return adm.response(), nil
}

// admitted is a request that was found good.
type admitted struct {
	known      bool            // Nomad knows the caller; false: it could not be asked.
	permitted  map[string]bool // Namespaces that the caller may submit to.
	candidates []*candidate
	warnings   []api.Detail
}

// candidate is one service on its way through admission.
type candidate struct {
	file     api.File
	draft    *jobspecs.Draft
	service  wadi.Service
	warnings []string

	exists bool
	stored wadi.Spec
	index  uint64

	spec    wadi.Spec      // What will be stored.
	changed bool           // spec differs from stored.
	rev     *wadi.Revision // The new revision, if it makes one.
	retried []string       // Revisions that had failed and are to be tried again.

	takeOver uint64 // JobModifyIndex of a job left over that is Wadi's; 0: none.
	jobIndex uint64 // JobModifyIndex after it was registered; 0: not yet.
}

// examine does everything that changes nothing.
func (a *Admission) examine(ctx context.Context, r Request) (*admitted, error) {
	adm := &admitted{permitted: map[string]bool{}}
	files, options, err := a.permitAll(ctx, r, adm)
	if err != nil {
		return nil, err
	}
	switch {
	case !adm.known && r.Scan != nil: // Nomad is away, and it may be anybody: his turn is among few.
		done, err := r.Scan(ctx)
		if err != nil {
			return nil, err
		}
		defer done()
	case adm.known && r.Evaluate != nil:
		if ctx, err = r.Evaluate(); err != nil {
			return nil, err
		}
	}
	if err := a.parse(ctx, r, files, options, adm); err != nil {
		return nil, err
	}
	if err := a.check(ctx, r, adm); err != nil {
		return nil, err
	}
	if err := a.reviseAll(ctx, r, adm); err != nil {
		return nil, err
	}
	if err := a.plan(ctx, r.NomadToken, adm.candidates); err != nil {
		return nil, err
	}
	if err := a.fits(ctx, adm.candidates); err != nil {
		return nil, err
	}
	return adm, nil
}

func (adm *admitted) response() api.Submitted {
	out := api.Submitted{Services: make([]api.SubmittedService, 0, len(adm.candidates)), Warnings: adm.warnings}
	for _, c := range adm.candidates {
		out.Services = append(out.Services, api.SubmittedService{
			Name:        c.service.Name,
			Index:       c.index,
			Generation:  c.spec.Generation,
			Revision:    c.spec.Latest,
			NewRevision: c.rev != nil,
			Changed:     c.changed,
			Retried:     c.retried,
			Warnings:    c.warnings,
		})
	}
	return out
}
