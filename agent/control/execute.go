package control

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// execute does one planned step, and changes what is known of the service
// accordingly once it is done.
func (c *Controller) execute(ctx context.Context, s *service, a scheduler.Action) error {
	ctx, cancel := context.WithTimeout(ctx, actionTimeout)
	defer cancel()
	name, ns := s.Service.Name, s.Service.Namespace
	switch a.Kind {
	case scheduler.SetPhase:
		return c.setPhase(ctx, s, a)
	case scheduler.NoteStart:
		return c.noteStart(ctx, s, a)
	case scheduler.PutRoute:
		if err := c.State.PutRoute(ctx, a.Route); err != nil {
			return err
		}
		c.noteTargets(s, a.Route)
		s.Route, s.programmed, s.whyNot, s.edited = a.Route, false, "", false
		s.checked, s.applied = false, time.Time{}
	case scheduler.Program:
		// What is somebody else's stays so; reading back says why, and the status
		// with it. The rest of the service is kept up all the same.
		err := c.Network.Apply(ctx, s.Route)
		if err != nil && !errors.Is(err, wadi.ErrForeign) {
			return err
		}
		s.barred = err != nil
		now := time.Now()
		if !s.barred {
			c.notePutBack(s, now)
		}
		s.checked, s.applied = false, now
	case scheduler.PutBack:
		return c.putBack(ctx, s, a)
	case scheduler.CheckDrift:
		return c.checkDrift(s, a)
	case scheduler.UndoDrift:
		return c.undoDrift(ctx, s, a)
	case scheduler.StopJob:
		if _, same, err := jobUnchanged(ctx, c.Jobs, ns, a.Revision, a.Index); err != nil || !same {
			return err // The next pass plans anew.
		}
		if err := c.Jobs.Stop(ctx, ns, a.Revision); err != nil {
			return err
		}
		c.Log.Info("job stopped", "revision", a.Revision, "reason", a.Reason)
	case scheduler.PurgeJob:
		if _, same, err := jobUnchanged(ctx, c.Jobs, ns, a.Revision, a.Index); err != nil || !same {
			return err // The next pass plans anew.
		}
		if err := c.Jobs.Purge(ctx, ns, a.Revision); err != nil {
			return err
		}
		c.notePurged(s, a)
	case scheduler.ForgetRevision:
		if err := c.Remover.DeleteRevision(ctx, name, a.Revision); err != nil {
			return err
		}
		s.Revisions = slices.DeleteFunc(slices.Clone(s.Revisions), func(r wadi.Revision) bool { return r.ID == a.Revision })
		delete(s.State.Revisions, a.Revision)
		delete(s.purged, a.Revision)
		c.forget(a.Revision)
	case scheduler.Unprogram:
		// What somebody else's entries need is nobody's to take away: it must not keep
		// the service for ever.
		err := c.Network.Remove(ctx, name)
		if err != nil && !errors.Is(err, wadi.ErrForeign) {
			return err
		}
		if err != nil {
			c.Log.Warn("entries stay in Consul", "service", name, "error", err)
			c.Events.Add(name, "", EventLeftBehind, err.Error())
		}
		s.leftovers = false
	case scheduler.ForgetService:
		if err := c.Remover.Forget(ctx, name); err != nil {
			return err
		}
		for _, r := range s.Revisions {
			c.forget(r.ID)
		}
		delete(c.services, name)
		c.Log.Info("service deleted", "service", name)
		c.Events.Add(name, "", EventDeleted, "the service and all that it made are gone")
	}
	return nil
}

// notePurged tells of a purge, once: until Nomad's event comes the job is still listed,
// and purged again.
func (c *Controller) notePurged(s *service, a scheduler.Action) {
	if last, known := s.purged[a.Revision]; known && last == a.Index {
		return
	}
	if s.purged == nil {
		s.purged = map[string]uint64{}
	}
	s.purged[a.Revision] = a.Index
	c.Log.Info("job purged", "revision", a.Revision, "reason", a.Reason)
	c.Events.Add(s.Service.Name, a.Revision, "Purged", a.Reason)
}

func (c *Controller) setPhase(ctx context.Context, s *service, a scheduler.Action) error {
	rs := s.State.Revisions[a.Revision]
	rs.WasReady = rs.WasReady || rs.Phase == wadi.Ready || a.Phase == wadi.Ready
	rs.StartFailure = ""
	rs.Phase, rs.Reason, rs.Since, rs.Attempt = a.Phase, a.Reason, time.Now().UTC(), s.Attempt
	st := s.State
	st.Revisions = copyWith(st.Revisions, a.Revision, rs)
	if err := c.State.PutState(ctx, s.Service.Name, st); err != nil {
		return err
	}
	s.State = st
	switch a.Phase {
	case wadi.Ready:
		c.Events.Add(s.Service.Name, a.Revision, "Ready", cmp.Or(a.Reason, "enough instances were ready"))
	case wadi.Pending:
		if a.Reason == scheduler.TriedAgain {
			c.Events.Add(s.Service.Name, a.Revision, "Retried", a.Reason)
		}
	case wadi.Failed:
		c.Events.Add(s.Service.Name, a.Revision, "Failed", withID(a.Revision, a.Reason))
	case wadi.Retired:
		c.Events.Add(s.Service.Name, a.Revision, "Retired", a.Reason)
	}
	c.Log.Info("revision changed phase", "revision", a.Revision, "phase", a.Phase, "reason", a.Reason)
	return nil
}

// noteStart remembers that a revision can't be started, or that it can again.
func (c *Controller) noteStart(ctx context.Context, s *service, a scheduler.Action) error {
	rs := s.State.Revisions[a.Revision]
	rs.StartFailure = a.Reason
	st := s.State
	st.Revisions = copyWith(st.Revisions, a.Revision, rs)
	if err := c.State.PutState(ctx, s.Service.Name, st); err != nil {
		return err
	}
	s.State = st
	if a.Reason == "" {
		c.Events.Add(s.Service.Name, a.Revision, "Recovered", "an instance is ready again")
		return nil
	}
	c.Log.Warn("revision can't be started", "revision", a.Revision, "reason", a.Reason)
	c.Events.Add(s.Service.Name, a.Revision, "Blocked", "none of its instances is ready: "+a.Reason)
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

func (c *Controller) noteTargets(s *service, r wadi.Route) {
	if len(r.Targets) == 0 || reflect.DeepEqual(r.Targets, s.Route.Targets) {
		return
	}
	for _, t := range r.Targets {
		what := fmt.Sprintf("%g%% of the traffic goes to it", float64(t.Weight)/100)
		if t.Tag != "" {
			what += ", and tag " + t.Tag
		}
		c.Events.Add(s.Service.Name, t.Revision, "Routed", what)
	}
}

// storedJob is the job of a revision as it was submitted.
func (s *service) storedJob(revision string) (json.RawMessage, error) {
	i := slices.IndexFunc(s.Revisions, func(r wadi.Revision) bool { return r.ID == revision })
	if i < 0 {
		return nil, fmt.Errorf("stored job: %w", wadi.ErrNotFound)
	}
	return s.Revisions[i].Job, nil
}

// putBack registers the stored job again. A job that only the event stream does
// not know is not touched: Nomad itself is asked first.
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
		return nil // Somebody woke it; the next pass sees.
	} else if err != nil {
		return err
	}
	c.Owned.Add(a.Revision, index)
	msg := fmt.Sprintf("%s: put back with %s", a.Reason, wadi.Quantity(a.Count, "instance"))
	c.Log.Warn("job put back", "revision", a.Revision, "reason", a.Reason, "count", a.Count)
	c.Events.Add(s.Service.Name, a.Revision, "PutBack", msg)
	return nil
}

// forget drops what is kept of a revision that is gone.
func (c *Controller) forget(revision string) {
	c.Owned.Forget(revision)
	c.checks.forget(revision)
	c.Memory.Forget(revision)
}
