package control

import (
	"context"
	"slices"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// execute does one planned step, and changes what is known of the service
// accordingly once it is done.
func (c *Controller) execute(ctx context.Context, s *service, a scheduler.Action) error {
	ctx, cancel := context.WithTimeout(ctx, actionTimeout)
	defer cancel()
	switch a.Kind {
	case scheduler.SetPhase:
		return c.setPhase(ctx, s, a)
	case scheduler.EndPrefetch:
		return c.endPrefetch(ctx, s, a)
	case scheduler.NoteStart:
		return c.noteStart(ctx, s, a)
	case scheduler.Reject:
		return c.reject(ctx, s, a)
	case scheduler.SetRollout:
		return c.setRollout(ctx, s, a)
	case scheduler.PutRoute:
		return c.putRoute(ctx, s, a.Route)
	case scheduler.Program:
		return c.program(ctx, s)
	case scheduler.PutBack:
		return c.putBack(ctx, s, a)
	case scheduler.CheckDrift:
		return c.checkDrift(s, a)
	case scheduler.UndoDrift:
		return c.undoDrift(ctx, s, a)
	case scheduler.StopJob:
		return c.stopJob(ctx, s, a)
	case scheduler.PurgeJob:
		return c.purgeJob(ctx, s, a)
	case scheduler.ForgetRevision:
		return c.forgetRevision(ctx, s, a.Revision)
	case scheduler.Unprogram:
		return c.unprogram(ctx, s)
	case scheduler.ForgetService:
		return c.forgetService(ctx, s)
	}
	return nil
}

func (c *Controller) forgetRevision(ctx context.Context, s *service, revision string) error {
	if err := c.Remover.DeleteRevision(ctx, s.Service.Name, revision); err != nil {
		return err
	}
	if mark := s.Marks[revision]; mark.Deleted {
		c.Events.Add(s.Service.Name, revision, EventRemoved, "the revision is deleted"+by(mark.By))
	}
	s.Revisions = slices.DeleteFunc(slices.Clone(s.Revisions), func(r wadi.Revision) bool { return r.ID == revision })
	delete(s.State.Revisions, revision)
	s.forgetGone()
	c.forget(revision)
	return nil
}

func (c *Controller) forgetService(ctx context.Context, s *service) error {
	name := s.Service.Name
	if err := c.Remover.Forget(ctx, name); err != nil {
		return err
	}
	for _, r := range s.Revisions {
		c.forget(r.ID)
	}
	delete(c.services, name)
	c.Log.Info("service deleted", "service", name)
	c.Events.Add(name, "", EventDeleted, "the service and all that it made are gone")
	return nil
}

// forget drops what is kept of a revision that is gone.
func (c *Controller) forget(revision string) {
	c.Owned.Forget(revision)
	c.checks.forget(revision)
	c.Memory.Forget(revision)
}
