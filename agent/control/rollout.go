package control

import (
	"context"
	"maps"
	"time"

	"github.com/wadi-run/wadi/scheduler"
)

// reject remembers that a revision is not to be "latest", or that it may be again.
func (c *Controller) reject(ctx context.Context, s *service, a scheduler.Action) error {
	rs := s.State.Revisions[a.Revision]
	rs.Rejected, rs.Attempt = a.Reason, s.Attempt
	if err := c.putRevisionState(ctx, s, a.Revision, rs); err != nil {
		return err
	}
	if a.Reason == "" {
		c.Log.Info("revision may be latest again", "revision", a.Revision)
		c.Events.Add(s.Service.Name, a.Revision, EventRetried, "it was submitted again, and may take over again")
		return nil
	}
	c.Log.Warn("revision gives its traffic back", "revision", a.Revision, "reason", a.Reason)
	c.Events.Add(s.Service.Name, a.Revision, EventRollout, "it gives its share of latest back: "+a.Reason)
	return nil
}

// setRollout stores how far a rollout is, before the route that follows from it.
func (c *Controller) setRollout(ctx context.Context, s *service, a scheduler.Action) error {
	st := s.State
	st.Rollout = a.Rollout
	if err := c.State.PutState(ctx, s.Service.Name, st); err != nil {
		return err
	}
	s.State = st
	if a.Reason == "" {
		return nil
	}
	c.Log.Info("rollout", "revision", a.Revision, "what", a.Reason)
	c.Events.Add(s.Service.Name, a.Revision, EventRollout, a.Reason)
	return nil
}

// warm notes how many instances revisions need for their share of the traffic, and has the
// autoscaler start them soon.
func (c *Controller) warm(s *service, o scheduler.Observed) {
	next := scheduler.Warming(s.desired(), o)
	if !maps.Equal(next, s.warming) {
		s.warming, c.acted = next, true
	}
}

// Warming is how many instances a revision needs at least for its share of the traffic; 0:
// its load decides.
func (c *Controller) Warming(revision string) int {
	if p := c.warming.Load(); p != nil {
		return (*p)[revision]
	}
	return 0
}

// untilStep is how long it is until the next step of a rollout is due, or a pass anyway.
func (c *Controller) untilStep(now time.Time) time.Duration {
	next := passInterval
	for _, s := range c.services {
		if r := s.State.Rollout; r.Underway() && !r.Paused && r.Next.After(now) {
			next = min(next, r.Next.Sub(now))
		}
	}
	return next
}
