package control

import (
	"cmp"
	"context"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// setPhase stores the phase that a revision is in from now on, and makes an event of it.
func (c *Controller) setPhase(ctx context.Context, s *service, a scheduler.Action) error {
	rs := s.State.Revisions[a.Revision]
	first := rs.Phase == ""
	rs.WasReady = rs.WasReady || rs.Phase == wadi.Ready || a.Phase == wadi.Ready
	rs.StartFailure = ""
	if a.Phase == wadi.Pending {
		rs.Prefetch = ""
	}
	rs.Phase, rs.Reason, rs.Since, rs.Attempt = a.Phase, a.Reason, time.Now().UTC(), s.Attempt
	if err := c.putRevisionState(ctx, s, a.Revision, rs); err != nil {
		return err
	}
	switch a.Phase {
	case wadi.Ready:
		c.Events.Add(s.Service.Name, a.Revision, EventReady, cmp.Or(a.Reason, "enough instances were ready"))
	case wadi.Pending:
		if a.Reason == scheduler.TriedAgain {
			c.Events.Add(s.Service.Name, a.Revision, EventRetried, a.Reason)
		}
		if first {
			c.addImageEvents(s, a.Revision)
		}
	case wadi.Failed:
		c.Events.Add(s.Service.Name, a.Revision, EventFailed, withID(a.Revision, a.Reason))
	case wadi.Retired:
		c.Events.Add(s.Service.Name, a.Revision, EventRetired, a.Reason)
	}
	c.Log.Info("revision changed phase", "revision", a.Revision, "phase", a.Phase, "reason", a.Reason)
	return nil
}

// endPrefetch remembers that a revision waits no longer for its images, and how that ended.
func (c *Controller) endPrefetch(ctx context.Context, s *service, a scheduler.Action) error {
	rs := s.State.Revisions[a.Revision]
	rs.Prefetch = a.Reason
	if err := c.putRevisionState(ctx, s, a.Revision, rs); err != nil {
		return err
	}
	c.Log.Info("images prefetched", "revision", a.Revision, "reason", a.Reason)
	c.Events.Add(s.Service.Name, a.Revision, EventPrefetched, a.Reason)
	return nil
}

// noteStart remembers that a revision can't be started, or that it can again.
func (c *Controller) noteStart(ctx context.Context, s *service, a scheduler.Action) error {
	rs := s.State.Revisions[a.Revision]
	rs.StartFailure = a.Reason
	if err := c.putRevisionState(ctx, s, a.Revision, rs); err != nil {
		return err
	}
	if a.Reason == "" {
		c.Events.Add(s.Service.Name, a.Revision, EventRecovered, "an instance is ready again")
		return nil
	}
	c.Log.Warn("revision can't be started", "revision", a.Revision, "reason", a.Reason)
	c.Events.Add(s.Service.Name, a.Revision, EventStartFailed, "none of its instances is ready: "+a.Reason)
	return nil
}

// putRevisionState stores what is known of one revision.
func (c *Controller) putRevisionState(ctx context.Context, s *service, revision string, rs wadi.RevisionState) error {
	st := s.State
	st.Revisions = copyWith(st.Revisions, revision, rs)
	if err := c.State.PutState(ctx, s.Service.Name, st); err != nil {
		return err
	}
	s.State = st
	return nil
}

func copyWith(m map[string]wadi.RevisionState, id string, rs wadi.RevisionState) map[string]wadi.RevisionState {
	n := make(map[string]wadi.RevisionState, len(m)+1)
	for k, v := range m {
		n[k] = v
	}
	n[id] = rs
	return n
}
