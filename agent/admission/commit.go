package admission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

const (
	commitTimeout  = 30 * time.Second // Of registering and storing.
	cleanupTimeout = 15 * time.Second // Of taking registered jobs back.
)

// plan has Nomad validate the job of every new revision with the caller's token, and finds
// existing jobs of the same ID.
func (a *Admission) plan(ctx context.Context, token string, all []*candidate) error {
	var refused refusals
	blind := map[string]bool{} // Namespaces in which the caller may not read.
	for _, c := range all {
		if c.rev == nil {
			continue
		}
		planned, err := a.Nomad.PlanJob(ctx, token, c.rev.Job, 0, false)
		if err == nil { // Which says no word about volumes.
			err = a.Nomad.MayRegister(ctx, token, c.rev.Job)
		}
		switch {
		case errors.Is(err, wadi.ErrForbidden) && usesVolumes(c.rev.Job) && a.Nomad.MaySubmit(ctx, token, c.service.Namespace) == nil:
			return fmt.Errorf("register job %s: the token may submit jobs to namespace %q, but not this one; its volumes need host_volume or csi-mount-volume rights: %w",
				c.rev.ID, c.service.Namespace, err)
		case err != nil && isSentinel(err):
			return fmt.Errorf("plan job %s: %w", c.rev.ID, err)
		case err != nil:
			refused.invalid(c, "instance", "Nomad refuses the job: %v", err)
			continue
		}
		if w := strings.TrimSpace(planned.Warnings); w != "" {
			c.warnings = append(c.warnings, "Nomad warns: "+w)
		}
		if blind[c.service.Namespace] {
			continue
		}
		err = a.findExistingJob(ctx, token, c, &refused)
		if errors.Is(err, wadi.ErrForbidden) {
			// For a caller that may submit but not read, the registration at an index is the
			// check. A refusal takes time to confirm, so that it is asked for once.
			blind[c.service.Namespace] = true
			continue
		}
		if err != nil {
			return err
		}
	}
	return refused.err()
}

// usesVolumes reports whether a job takes a right besides that to submit it.
func usesVolumes(raw json.RawMessage) bool {
	var job struct {
		TaskGroups []struct{ Volumes map[string]json.RawMessage }
	}
	if json.Unmarshal(raw, &job) != nil {
		return false // Nomad says what is wrong.
	}
	for i := range job.TaskGroups {
		if len(job.TaskGroups[i].Volumes) > 0 {
			return true
		}
	}
	return false
}

// findExistingJob finds a job with the new revision's ID. A job that an earlier submission
// left, and that does not run, is taken over.
func (a *Admission) findExistingJob(ctx context.Context, token string, c *candidate, refused *refusals) error {
	job, err := a.Nomad.Job(ctx, token, c.service.Namespace, c.rev.ID)
	switch {
	case errors.Is(err, wadi.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("look for job %s: %w", c.rev.ID, err)
	}
	managed := job.Meta[metaService] == c.service.Name && job.Meta[metaSpecHash] != ""
	switch {
	case !managed:
		refused.clash(c, "", "Nomad has a job %q that is not managed by Wadi; rename or purge it", c.rev.ID)
	case job.Count > 0:
		refused.clash(c, "",
			"Nomad has a running job %q of an earlier service of that name; purge it (nomad job stop -purge %s)", c.rev.ID, c.rev.ID)
	default:
		c.takeOver = job.ModifyIndex
	}
	return nil
}

// changes returns the candidates that change something, and what is to be stored of them.
func changes(all []*candidate) (changed []*candidate, submissions []wadi.Submission) {
	for _, c := range all {
		if c.changed {
			changed = append(changed, c)
			submissions = append(submissions, wadi.Submission{Spec: c.spec, Index: c.index, NewRevision: c.rev})
		}
	}
	return changed, submissions
}

// fits refuses more than the store can take at once, before anything is registered.
func (a *Admission) fits(ctx context.Context, all []*candidate) error {
	changed, submissions := changes(all)
	if len(changed) == 0 {
		return nil
	}
	err := a.Store.Fits(ctx, submissions)
	if errors.Is(err, wadi.ErrTooLarge) {
		text := fmt.Sprintf("Consul does not take that much: %v", err)
		if len(changed) > 1 {
			text += "; submit the services in parts"
		}
		return &api.Error{Status: http.StatusRequestEntityTooLarge, Message: text}
	}
	if err != nil {
		return fmt.Errorf("check the size: %w", err)
	}
	return nil
}

// commit registers the new jobs and then stores all services. If that fails it removes the
// jobs again.
func (a *Admission) commit(ctx context.Context, token string, adm *admitted) error {
	changed, submissions := changes(adm.candidates)
	if len(changed) == 0 {
		return nil
	}
	for _, c := range changed {
		if err := a.register(ctx, token, c); err != nil {
			return a.undo(ctx, token, changed, err)
		}
	}
	indexes, err := a.Store.Submit(ctx, submissions)
	if err != nil {
		switch taken := a.takenSince(ctx, err, adm, changed); {
		case taken != nil:
			err = taken
		case errors.Is(err, wadi.ErrConflict):
			err = fmt.Errorf("a service was changed in the meantime; nothing was stored, try again: %w", wadi.ErrConflict)
		default:
			err = fmt.Errorf("store: %w", err)
		}
		return a.undo(ctx, token, changed, err)
	}
	for _, c := range changed {
		c.index = indexes[c.service.Name]
		a.Log.Info("submitted", "service", c.service.Name, "generation", c.spec.Generation,
			"revision", c.spec.Latest, "new_revision", c.rev != nil)
	}
	return nil
}

// register registers the job of a candidate's new revision.
func (a *Admission) register(ctx context.Context, token string, c *candidate) error {
	if c.rev == nil {
		return nil
	}
	index, err := a.Nomad.RegisterAt(ctx, token, c.rev.Job, c.takeOver)
	switch {
	case errors.Is(err, wadi.ErrConflict):
		return &api.Error{Status: http.StatusConflict, Message: fmt.Sprintf(
			"the job %q was registered in the meantime; nothing was stored, try again", c.rev.ID)}
	case err != nil && isSentinel(err):
		return fmt.Errorf("register job %s: %w", c.rev.ID, err)
	case err != nil:
		var refused refusals
		refused.invalid(c, "instance", "Nomad refuses the job: %v", err)
		return refused.err()
	}
	c.jobIndex = index
	return nil
}

// undo purges the jobs that this submission registered, and returns cause, with the jobs
// that could not be purged. It keeps jobs of other submissions: those that were taken over,
// have changed since, or belong to a stored revision. A job that can't be purged stays at
// count 0; the next submission takes it over.
func (a *Admission) undo(ctx context.Context, token string, all []*candidate, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	for _, c := range all {
		if c.jobIndex == 0 || c.takeOver != 0 {
			continue
		}
		if err := a.purgeOwn(ctx, token, c); err != nil {
			// As text only: the cause decides the status of the answer.
			cause = fmt.Errorf("%w (the job %s stays at Nomad with count 0: %v)", cause, c.rev.ID, err)
		}
	}
	return cause
}

// purgeOwn purges a candidate's job, unless it is another submission's by now.
func (a *Admission) purgeOwn(ctx context.Context, token string, c *candidate) error {
	job, err := a.Nomad.Job(ctx, token, c.service.Namespace, c.rev.ID)
	switch {
	case errors.Is(err, wadi.ErrNotFound):
		return nil
	case err != nil:
		return err
	case job.ModifyIndex != c.jobIndex:
		return nil
	}
	// While the store is unavailable the job is purged too: if its revision was stored
	// all the same, the controller registers the job again.
	revisions, _ := a.Store.Revisions(ctx, c.service.Name)
	if slices.ContainsFunc(revisions, func(r wadi.Revision) bool { return r.ID == c.rev.ID }) {
		return nil
	}
	return a.Nomad.Purge(ctx, token, c.service.Namespace, c.rev.ID)
}
