package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// stopJob ends a job's instances.
func (c *Controller) stopJob(ctx context.Context, s *service, a scheduler.Action) error {
	if _, same, err := jobUnchanged(ctx, c.Jobs, s.Service.Namespace, a.Revision, a.Index); err != nil || !same {
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
