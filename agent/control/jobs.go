package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// JobReader reads a job's state from Nomad's servers; a job that does not exist is no error.
type JobReader interface {
	Job(ctx context.Context, namespace, id string) (scheduler.JobState, error)
}

// jobUnchanged reads a job and reports whether it is still the one of index. Nomad guards
// neither stopping nor purging: a job that was registered or scaled since must stay.
func jobUnchanged(ctx context.Context, jobs JobReader, namespace, id string, index uint64) (job scheduler.JobState, same bool, err error) {
	job, err = jobs.Job(ctx, namespace, id)
	return job, err == nil && job.Exists && job.Index == index, err
}

// JobEmptier ends the instances of a job by a call that Nomad guards.
type JobEmptier interface {
	JobReader
	// Scale sets the count and returns the new modify index; wadi.ErrConflict when index is
	// not the job's modify index any more.
	Scale(ctx context.Context, namespace, id string, count int, index uint64, message string) (uint64, error)
}

// emptied ends a job's instances before it is stopped or purged, if it is still the one of
// index. Nomad guards neither of these, but it does guard the count: what was started since the
// job was seen stays, and the job is not same. A job whose count Nomad does not change, as one
// that was edited to have deployments, is as it was seen.
func emptied(ctx context.Context, jobs JobEmptier, namespace, id string, index uint64, why string) (job scheduler.JobState, same bool, err error) {
	job, same, err = jobUnchanged(ctx, jobs, namespace, id, index)
	if err != nil || !same || !job.Running() || job.Count == 0 {
		return job, same, err
	}
	_, err = jobs.Scale(ctx, namespace, id, 0, index, why)
	switch {
	case err == nil:
		return job, true, nil
	case errors.Is(err, wadi.ErrConflict):
		return job, false, nil
	case wadi.StatusOfError(err) == http.StatusInternalServerError && ctx.Err() == nil: // Nomad refuses it for good.
		return job, true, nil
	}
	return job, false, err
}

// stopJob ends a job's instances.
func (c *Controller) stopJob(ctx context.Context, s *service, a scheduler.Action) error {
	if _, same, err := emptied(ctx, c.Jobs, s.Service.Namespace, a.Revision, a.Index, a.Reason); err != nil || !same {
		return err // The next pass plans anew.
	}
	if err := c.Jobs.Stop(ctx, s.Service.Namespace, a.Revision); err != nil {
		return err
	}
	c.Log.Info("job stopped", "revision", a.Revision, "reason", a.Reason)
	return nil
}

// purgeJob purges a job and reports that once: until Nomad's event comes the job is still
// listed, and purged again.
func (c *Controller) purgeJob(ctx context.Context, s *service, a scheduler.Action) error {
	if _, same, err := jobUnchanged(ctx, c.Jobs, s.Service.Namespace, a.Revision, a.Index); err != nil || !same {
		return err // The next pass plans anew.
	}
	if err := c.Jobs.Purge(ctx, s.Service.Namespace, a.Revision); err != nil {
		return err
	}
	n := s.notes(a.Revision)
	if n.purgedIndex == a.Index {
		return nil
	}
	n.purgedIndex = a.Index
	c.Log.Info("job purged", "revision", a.Revision, "reason", a.Reason)
	c.Events.Add(s.Service.Name, a.Revision, EventPurged, a.Reason)
	return nil
}

// storedJob is the job of a revision as it was submitted.
func (s *service) storedJob(revision string) (json.RawMessage, error) {
	i := slices.IndexFunc(s.Revisions, func(r wadi.Revision) bool { return r.ID == revision })
	if i < 0 {
		return nil, fmt.Errorf("stored job: %w", wadi.ErrNotFound)
	}
	return s.Revisions[i].Job, nil
}

// putBack registers the stored job again. Nomad itself is asked first: a job that only the
// event stream does not know is left alone.
func (c *Controller) putBack(ctx context.Context, s *service, a scheduler.Action) error {
	job, err := c.Jobs.Job(ctx, s.Service.Namespace, a.Revision)
	if err != nil {
		return err
	}
	if job.Running() {
		return nil
	}
	stored, err := s.storedJob(a.Revision)
	if err != nil {
		return err
	}
	index, err := c.Jobs.Register(ctx, stored, a.Count, job.Index)
	if errors.Is(err, wadi.ErrConflict) {
		return nil // It was woken meanwhile; the next pass plans anew.
	} else if err != nil {
		return err
	}
	c.Owned.Add(a.Revision, index)
	msg := fmt.Sprintf("%s: put back with %s", a.Reason, wadi.Quantity(a.Count, "instance"))
	c.Log.Warn("job put back", "revision", a.Revision, "reason", a.Reason, "count", a.Count)
	c.Events.Add(s.Service.Name, a.Revision, EventPutBack, msg)
	return nil
}
