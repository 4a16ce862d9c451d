package admission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/plan"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/jobspecs"
	"github.com/wadi-run/wadi/secrets"
)

// maxDryRun bounds the instances that Nomad's scheduler is asked to place in a plan.
const maxDryRun = 100

// Plan says what Submit would change, and changes nothing. It shows what is stored, so the
// caller also needs the right to read.
func (a *Admission) Plan(ctx context.Context, r Request) (api.Plan, error) {
	a = a.pinned()
	r.dryRun = true
	ctx, adm, err := a.examine(ctx, r)
	if err != nil {
		return api.Plan{}, err
	}
	out := api.Plan{Services: make([]api.ServicePlan, 0, len(adm.candidates)), Warnings: adm.warnings}
	for _, c := range adm.candidates {
		if err := a.Nomad.MayRead(ctx, r.NomadToken, c.service.Namespace); err != nil {
			return api.Plan{}, fmt.Errorf("a plan shows what is stored, which takes read-job in namespace %q: %w", c.service.Namespace, err)
		}
		p, err := a.planService(ctx, r.NomadToken, c)
		if err != nil {
			return api.Plan{}, err
		}
		out.Changed = out.Changed || p.Changed
		out.Services = append(out.Services, p)
	}
	return out, nil
}

// planService compares one candidate with what there is of its service.
func (a *Admission) planService(ctx context.Context, token string, c *candidate) (api.ServicePlan, error) {
	p := api.ServicePlan{
		Name: c.service.Name, Namespace: c.service.Namespace, Index: c.index, Changed: c.changed,
		Revision: c.spec.Latest, NewRevision: c.rev != nil, Retried: c.retried, Warnings: c.warnings, Service: secrets.Planned(c.spec.Service), Moved: c.moved,
	}
	if !c.changed { // What is not as it was submitted yet is none of this submission's changes.
		return p, nil
	}
	state, err := a.Store.State(ctx, p.Name)
	if err != nil && !errors.Is(err, wadi.ErrNotFound) {
		return p, fmt.Errorf("read state of %s: %w", p.Name, err)
	}
	p.Settings, p.Because = changedSettings(c)
	if c.rev != nil {
		if p.Job, err = a.planJob(ctx, token, c, state); err != nil {
			return p, err
		}
		if p.Job == nil {
			p.Warnings = append(p.Warnings, "Nomad plans no job for the identity of a workload: its diff and the dry run are missing; use a stored token")
		}
	}
	err = a.planRoute(ctx, c, state, &p)
	return p, err
}

// changedSettings compares the candidate's settings with the stored ones, and names those
// that make its new revision.
func changedSettings(c *candidate) (all []wadi.Change, because []string) {
	if !c.exists {
		return plan.Settings(nil, &c.spec.Service), nil
	}
	all = plan.Settings(&c.stored.Service, &c.spec.Service)
	if c.rev == nil {
		return all, nil
	}
	if !plan.SameInstance(c.stored.Service, c.spec.Service) {
		because = append(because, "instance")
	}
	for _, s := range all {
		if s.Note != "" {
			because = append(because, s.Name)
		}
	}
	for _, m := range c.moved {
		because = append(because, "image of "+m.Task)
	}
	return all, because
}

// planJob has Nomad compare the job of a new revision with that of an earlier one, and try to
// place its first instances. It returns nil if Nomad plans nothing for the token.
func (a *Admission) planJob(ctx context.Context, token string, c *candidate, state wadi.State) (*api.JobPlan, error) {
	count := min(max(1, c.service.Scale.Initial, c.service.Scale.Min), maxDryRun)
	dry, err := a.Nomad.PlanJob(ctx, token, c.rev.Job, count, true)
	if err != nil {
		return nil, a.refusedPlan(c, err)
	}
	if dry.Unknown {
		return nil, nil
	}
	out := &api.JobPlan{Diff: dry.Diff, Count: count, Unplaced: dry.Unplaced}
	jobs := []json.RawMessage{c.rev.Job}
	for _, base := range plan.Bases(c.revisions, state) {
		job, err := a.Nomad.Job(ctx, token, c.service.Namespace, base.ID)
		if errors.Is(err, wadi.ErrNotFound) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("read job %s: %w", base.ID, err)
		}
		agent, err := a.downloading()
		if err != nil {
			return nil, err
		}
		like, err := jobspecs.Render(plan.Like(base, *c.rev), agent)
		if err != nil {
			return nil, err
		}
		compared, err := a.Nomad.PlanJob(ctx, token, like, job.Count, true)
		if err != nil {
			return nil, a.refusedPlan(c, err)
		}
		out.Base, out.Diff, jobs = base.ID, compared.Diff, append(jobs, base.Job)
		break
	}
	out.Diff = plan.Bound(secrets.Change(plan.WithoutOwn(out.Diff), jobs...))
	return out, nil
}

// refusedPlan is an error of Nomad's plan at the caller's line, if it is about the job.
func (a *Admission) refusedPlan(c *candidate, err error) error {
	if isSentinel(err) {
		return fmt.Errorf("plan job %s: %w", c.rev.ID, err)
	}
	var refused refusals
	refused.invalid(c, "instance", "Nomad refuses the job: %v", err)
	return refused.err()
}

// planRoute compares the traffic and Consul's entries with those of the route that the
// service has once its revisions are ready.
func (a *Admission) planRoute(ctx context.Context, c *candidate, state wadi.State, p *api.ServicePlan) error {
	stored, err := a.Store.Route(ctx, p.Name)
	switch {
	case errors.Is(err, wadi.ErrUnreadable):
		p.Warnings = append(p.Warnings, "the stored route can't be read, so traffic and Consul's entries are not compared: "+err.Error())
		return nil
	case err != nil && !errors.Is(err, wadi.ErrNotFound):
		return fmt.Errorf("read route of %s: %w", p.Name, err)
	}
	revisions := c.revisions
	if c.rev != nil {
		revisions = append(revisions[:len(revisions):len(revisions)], *c.rev)
	}
	route := plan.Route(c.spec.Service, c.spec.Latest, revisions, state)
	for _, s := range plan.Shares(stored.Targets, route.Targets) {
		if s.Kind() != wadi.ChangeNone {
			p.Traffic = append(p.Traffic, api.PlannedTraffic{Revision: s.Revision, Tag: s.Tag, Kind: s.Kind(), Before: s.Before, After: s.After})
		}
	}
	if a.Entries == nil {
		return nil
	}
	entries, err := a.Entries.Preview(ctx, route)
	if err != nil {
		return err
	}
	p.Consul = plan.Consul(entries)
	for _, f := range entries.Foreign {
		p.Warnings = append(p.Warnings, fmt.Sprintf("Consul has a %s that Wadi does not manage: while it is there, the entries of this service are not written", f))
	}
	return nil
}
