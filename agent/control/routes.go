package control

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
)

// readBack asks the network layers, now and then, whether they still carry the route.
func (c *Controller) readBack(ctx context.Context, s *service) error {
	if s.checked || s.Route.Service == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, actionTimeout)
	defer cancel()
	ok, why, err := c.Network.Programmed(ctx, s.Route)
	if err != nil {
		return err
	}
	s.noteReadBack(ok, why)
	s.leftovers = true // Remove is idempotent: done once before a service is forgotten.
	return nil
}

func (c *Controller) putRoute(ctx context.Context, s *service, r wadi.Route) error {
	if err := c.State.PutRoute(ctx, r); err != nil {
		return err
	}
	c.reportTargets(s, r)
	if !slices.Equal(r.Targets, s.Route.Targets) && len(s.Route.Targets) > 0 {
		s.moved = time.Now()
	}
	s.Route, s.programmed, s.whyNot, s.edited = r, false, "", false
	s.checked, s.applied = false, time.Time{}
	return nil
}

// program gives the stored route to the network layers. A foreign entry in the way stays
// as it is: reading back says why the route is not programmed, and the status with it. The
// rest of the service is reconciled all the same.
func (c *Controller) program(ctx context.Context, s *service) error {
	err := c.Network.Apply(ctx, s.Route)
	if err != nil && !errors.Is(err, wadi.ErrForeign) {
		return err
	}
	s.foreign = err != nil
	now := time.Now()
	if !s.foreign {
		c.notePutBack(s, now)
	}
	s.checked, s.applied = false, now
	return nil
}

// unprogram takes the service out of the network layers. Entries that foreign ones refer
// to can't be deleted, and must not keep the service for ever.
func (c *Controller) unprogram(ctx context.Context, s *service) error {
	err := c.Network.Remove(ctx, s.Service.Name)
	if err != nil && !errors.Is(err, wadi.ErrForeign) {
		return err
	}
	if err != nil {
		c.Log.Warn("entries stay in Consul", "service", s.Service.Name, "error", err)
		c.Events.Add(s.Service.Name, "", EventLeftBehind, err.Error())
	}
	s.leftovers = false
	return nil
}

func (c *Controller) reportTargets(s *service, r wadi.Route) {
	if len(r.Targets) == 0 || s.State.Rollout.Underway() || reflect.DeepEqual(r.Targets, s.Route.Targets) {
		return
	}
	for _, t := range r.Targets {
		what := fmt.Sprintf("%g%% of the traffic goes to it", float64(t.Weight)/100)
		if t.Tag != "" {
			what += ", and tag " + t.Tag
		}
		c.Events.Add(s.Service.Name, t.Revision, EventRouted, what)
	}
}
