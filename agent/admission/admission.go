// Package admission decides whether what a user submits may be stored, and
// stores it.
//
// It promises all or nothing: every mistake of every file is reported at once;
// a revision's job is accepted by Nomad under the caller's own token before
// anything is stored; and if storing fails, the jobs that this submission
// registered are removed again. It refuses to scale, to start or to stop
// anything: jobs are registered at count 0, and the controller does the rest.
package admission

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/agent/admission/rules"
	"github.com/wadi-run/wadi/agent/admission/webhook"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/jobspecs"
)

// Config is what New needs. All fields but Entries, Registries, Now, Log and GatewayDomain are
// required.
type Config struct {
	Store   Store
	Nomad   Nomad
	Catalog Catalog
	Entries Entries // Nil: plans leave Consul's entries out.

	Registries Registries // Nil: images stay as they are named.

	Intentions IntentionRights

	Settings // At first. See Set.

	// Installation returns the Agent.Installation of rendered jobs, which is known only
	// after Consul was asked. Nil: there is none.
	Installation func() string

	Now func() time.Time
	Log hclog.Logger
}

// Settings are what [Admission.Set] changes while the agent runs.
type Settings struct {
	AllowIntentions bool // Callers that may submit a service may set its intentions.

	Rules    rules.Rules        // The agent's own; none by default.
	Webhooks []*webhook.Webhook // Asked in this order, the mutating ones first.

	Defaults jobspecs.Defaults
	Limits   jobspecs.Limits
	Agent    jobspecs.Agent // The agent's part of a rendered job.

	// Download returns the Agent.Download, with the programs that this agent has now. It
	// fails if there is none for some node. Nil: instances fetch nothing.
	Download func() (jobspecs.Download, error)

	MaxServices   int    // Of the installation; 0 is 1000.
	MaxBytes      int    // Of all files of a submission together; 0 is 1 MiB.
	GatewayDomain string // Parent of the services' own domains.
}

// Admission admits services. It keeps no state, and may be used concurrently.
type Admission struct {
	Config // Its Settings are set for one submission only: see pinned.

	settings *atomic.Pointer[Settings] // In force.
}

// New returns an Admission, or an error when c lacks a required field.
func New(c Config) (*Admission, error) {
	if c.Store == nil || c.Nomad == nil || c.Catalog == nil {
		return nil, fmt.Errorf("admission: store, Nomad and catalog are required")
	}
	if c.Intentions == nil {
		return nil, fmt.Errorf("admission: rights to intentions are required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = hclog.NewNullLogger()
	}
	a := &Admission{Config: c, settings: &atomic.Pointer[Settings]{}}
	a.Set(c.Settings)
	a.Settings = Settings{}
	return a, nil
}

// Set puts settings in force for the submissions that begin from now on.
func (a *Admission) Set(s Settings) {
	if s.MaxBytes <= 0 {
		s.MaxBytes = 1 << 20
	}
	if s.MaxServices <= 0 {
		s.MaxServices = 1000
	}
	a.settings.Store(&s)
}

// pinned is a with the settings that are in force now: one submission is judged by one set,
// whatever is reloaded meanwhile.
func (a *Admission) pinned() *Admission {
	p := *a
	p.Settings = *a.settings.Load()
	return &p
}

// Request is a submission, and its caller.
type Request struct {
	api.Submission

	NomadToken  string // The caller's. Jobs are registered with it.
	ConsulToken string // The caller's, for rights in Consul.

	// Scan waits until the files may be scanned for their namespaces, which takes memory;
	// the caller calls done afterwards. Nil: at once.
	Scan func(context.Context) (done func(), err error)

	// Evaluate waits until the files may be evaluated, after the caller's right to submit
	// them is known. The rest of the work uses the context that it returns. Nil: at once.
	Evaluate func() (context.Context, error)

	// Pause lets another submission be evaluated until Evaluate is called again. Nil: there
	// is no need to.
	Pause func()

	dryRun bool // Nothing will be stored.
}

// Submit admits and stores all services of the request, or none. A refusal is an
// [*api.Error]; other errors wrap the root package's sentinels.
func (a *Admission) Submit(ctx context.Context, r Request) (api.Submitted, error) {
	a = a.pinned()
	ctx, adm, err := a.examine(ctx, r)
	if err != nil {
		return api.Submitted{}, err
	}
	// A caller that goes away from here on does not stop it: half a submission would have
	// to be undone anyway.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	if err := a.commit(ctx, r.NomadToken, adm); err != nil {
		return api.Submitted{}, err
	}
	return adm.response(), nil
}

// Validate does what Submit does, but registers and stores nothing.
func (a *Admission) Validate(ctx context.Context, r Request) (api.Submitted, error) {
	r.dryRun = true
	_, adm, err := a.pinned().examine(ctx, r)
	if err != nil {
		return api.Submitted{}, err
	}
	return adm.response(), nil
}

// examine does the part of Submit that changes nothing. The rest of the work uses the context
// that it returns.
func (a *Admission) examine(ctx context.Context, r Request) (context.Context, *admitted, error) {
	adm := &admitted{permitted: map[string]bool{}}
	files, options, err := a.permitAll(ctx, r, adm)
	if err != nil {
		return ctx, nil, err
	}
	switch {
	case !adm.known && r.Scan != nil: // Nomad is unavailable, and the caller unknown: few of those run at a time.
		done, err := r.Scan(ctx)
		if err != nil {
			return ctx, nil, err
		}
		defer done()
	case adm.known && r.Evaluate != nil:
		if ctx, err = r.Evaluate(); err != nil {
			return ctx, nil, err
		}
	}
	for _, step := range []func() error{
		func() error { return a.parse(ctx, r, files, options, adm) },
		func() error { return a.review(ctx, r, adm) },
		func() error { ctx, err = a.resolve(ctx, r, adm); return err },
		func() error { return a.judge(ctx, r, adm) },
		func() error { return a.plan(ctx, r.NomadToken, adm.candidates) },
		func() error { return a.fits(ctx, adm.candidates) },
	} {
		if err := step(); err != nil {
			return ctx, nil, err
		}
	}
	return ctx, adm, nil
}

// review has the mutating webhooks change the services, and compares them with what is
// stored. Rights come first: a caller that may not submit learns nothing else, and neither a
// webhook nor a registry is asked for it.
func (a *Admission) review(ctx context.Context, r Request, adm *admitted) error {
	for _, c := range adm.candidates {
		if err := a.permit(ctx, r.NomadToken, c.service.Namespace, adm.permitted); err != nil {
			return err
		}
	}
	adm.reviews = a.newReviews(ctx, r)
	if err := adm.reviews.mutate(ctx, adm.candidates); err != nil {
		return err
	}
	return a.check(ctx, r, adm)
}

// judge decides what will be stored of the services, and has the rules and the webhooks
// judge it, digests included.
func (a *Admission) judge(ctx context.Context, r Request, adm *admitted) error {
	if err := a.reviseAll(ctx, r, adm); err != nil {
		return err
	}
	if err := a.checkRules(adm.candidates); err != nil {
		return err
	}
	return adm.reviews.judge(ctx, adm.candidates)
}
