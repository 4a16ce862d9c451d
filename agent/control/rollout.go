package control

import (
	"context"
	"maps"
	"time"

	"github.com/wadi-run/wadi"
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
	if a.Noted {
		c.noteInNomad(ctx, s, a.Revision, a.Reason)
	}
	return nil
}

// OutcomeReader is how revisions answered their callers, in this term.
type OutcomeReader interface {
	// Outcomes returns what a revision answered since a time, which is not before the term's
	// begin. unknown says why not all of it is known; empty: all is.
	Outcomes(revision string, since time.Time) (o wadi.Outcomes, unknown string)
}

// observeOutcomes reads what the gate of a rollout judges by.
func (c *Controller) observeOutcomes(s *service, o *scheduler.Observed) {
	r := s.State.Rollout
	if c.Observers.Outcomes == nil || !r.Underway() || !s.Service.Rollout.Gated() || r.Programmed.IsZero() {
		return
	}
	o.OutcomesSince = r.Programmed
	if s.termBegan.After(o.OutcomesSince) {
		o.OutcomesSince = s.termBegan
	}
	o.Outcomes, o.NoOutcomes = map[string]wadi.Outcomes{}, map[string]string{}
	for _, sh := range r.Shares {
		got, unknown := c.Observers.Outcomes.Outcomes(sh.Revision, o.OutcomesSince)
		if unknown != "" {
			o.NoOutcomes[sh.Revision] = unknown
			continue
		}
		o.Outcomes[sh.Revision] = got
	}
}

// noteTimeout bounds a note in Nomad's history, which nothing depends on.
const noteTimeout = 2 * time.Second

// noteInNomad has Nomad's UI show what happens to a revision.
func (c *Controller) noteInNomad(ctx context.Context, s *service, revision, message string) {
	ctx, cancel := context.WithTimeout(ctx, noteTimeout)
	defer cancel()
	if err := c.Jobs.Note(ctx, s.Service.Namespace, revision, "rollout: "+truncate(message)); err != nil {
		c.Log.Debug("no note in Nomad", "revision", revision, "error", err)
	}
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

// reasonEvery is how often the status says anew why a rollout is where it is: it has numbers
// that change with every request.
const reasonEvery = 10 * time.Second

// settleReason has the rollout's status keep the reason that was stored, if nothing else of it
// has changed since and that was a moment ago.
func (s *service) settleReason(st *wadi.RolloutStatus, now time.Time) {
	was := s.Status.Rollout
	if st == nil || was == nil || st.Reason == was.Reason {
		return
	}
	same := *st
	same.Reason = was.Reason
	if same == *was && now.Sub(s.reasoned) < reasonEvery {
		st.Reason = was.Reason
		return
	}
	s.reasoned = now
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
