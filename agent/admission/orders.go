package admission

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/plan"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/jobspecs"
)

// Order is a change of a stored service that comes without a file: of its traffic, or of a
// rollout. The caller's right to submit to the namespace was checked.
//
// Neither the agent's rules nor webhooks are asked: each revision passed them when it was
// submitted, and a rollback must not depend on a webhook that is away.
type Order struct {
	Service    string
	Namespace  string  // That the service had when the caller's right was checked.
	CheckIndex *uint64 // That must be stored; nil: any.
	By         string  // Name of the caller's token; empty: unknown.
}

// orderTries bounds the tries of an order that conflicts with other changes, and names no
// index.
const orderTries = 5

// SetTraffic stores other traffic targets. A refusal is an [*api.Error]; other errors wrap the
// root package's sentinels.
func (a *Admission) SetTraffic(ctx context.Context, o Order, given []api.Target) (out api.TrafficSet, err error) {
	all := make([]jobspecs.Target, 0, len(given))
	for _, t := range given {
		all = append(all, jobspecs.Target(t))
	}
	targets, problems := jobspecs.Targets(o.Service, all)
	if len(problems) > 0 {
		return out, &api.Error{Status: http.StatusBadRequest, Message: "bad input", Details: problems}
	}
	return out, a.order(ctx, o, func(c *candidate) error {
		out = api.TrafficSet{Before: c.stored.Service.Traffic}
		c.setTraffic(targets, wadi.TrafficOrder{By: o.By, At: a.Now().Unix()})
		return a.checkTargets(ctx, c)
	}, func(c *candidate) { stored(&out, c) })
}

// Rollback gives the traffic to the revision to; if that is empty, it aborts the rollout that
// is under way, or else gives the traffic to the revision before. Its errors are those of
// SetTraffic.
func (a *Admission) Rollback(ctx context.Context, o Order, to string) (out api.TrafficSet, err error) {
	return out, a.order(ctx, o, func(c *candidate) error {
		out = api.TrafficSet{Before: c.stored.Service.Traffic}
		rollout, err := a.rolloutOf(ctx, c)
		if err != nil {
			return err
		}
		if rollout.UnderWay() {
			out.From, out.To, out.Aborted = rollout.Revision, rollout.From, rollout.Revision
			c.setOrder(wadi.RolloutOrder{Action: wadi.RolloutAbort, Revision: rollout.Revision, By: o.By, At: a.Now().Unix()})
			if to == "" {
				return nil
			}
		}
		back, err := a.back(ctx, c)
		if err != nil {
			return err
		}
		out.To = to
		if to != "" {
			out.From = back.Route.Main()
		} else if out.From, out.To, err = back.Revision(); err != nil {
			return &api.Error{Status: http.StatusConflict, Message: err.Error() + "; wadi revision list " + o.Service + " shows what there is, and -to names one"}
		}
		targets := back.Targets(out.To)
		if len(targets) > jobspecs.MaxTargets {
			return &api.Error{Status: http.StatusConflict, Message: fmt.Sprintf("%s has %s, and one more target than that is too much; set its traffic without one of them (wadi traffic)", o.Service, wadi.Quantity(len(targets)-1, "tag"))}
		}
		c.setTraffic(targets, wadi.TrafficOrder{From: out.From, By: o.By, At: a.Now().Unix()})
		return a.checkTargets(ctx, c)
	}, func(c *candidate) { stored(&out, c) })
}

// OrderRollout pauses, resumes or aborts the rollout that is under way. Its errors are those
// of SetTraffic.
func (a *Admission) OrderRollout(ctx context.Context, o Order, action wadi.RolloutAction) (out api.RolloutOrdered, err error) {
	switch action {
	case wadi.RolloutPause, wadi.RolloutResume, wadi.RolloutAbort:
	default:
		return out, badRequest("action %.64q is not one of \"pause\", \"resume\" and \"abort\"", action)
	}
	return out, a.order(ctx, o, func(c *candidate) error {
		rollout, err := a.rolloutOf(ctx, c)
		if err != nil {
			return err
		}
		last := c.stored.Order
		same := rollout.UnderWay() && last.Revision == rollout.Revision // What the leader may not have obeyed yet.
		switch {
		case !rollout.UnderWay():
			return &api.Error{Status: http.StatusConflict, Message: noRollout(o.Service, rollout)}
		case same && last.Action == wadi.RolloutAbort && action != wadi.RolloutAbort:
			return &api.Error{Status: http.StatusConflict, Message: fmt.Sprintf("the rollout of %s is being aborted; submit it again to begin anew", rollout.Revision)}
		case action == wadi.RolloutPause && rollout.Phase == wadi.RolloutPaused && same && last.Action == action:
			// It is paused.
		case action == wadi.RolloutResume && rollout.Phase != wadi.RolloutPaused && !(same && last.Action == wadi.RolloutPause):
			// It is not paused.
		default:
			c.setOrder(wadi.RolloutOrder{Action: action, Revision: rollout.Revision, By: o.By, At: a.Now().Unix()})
		}
		out.Revision = rollout.Revision
		return nil
	}, func(c *candidate) {
		out.Service, out.Action, out.Changed = c.service.Name, action, c.changed
		out.Index, out.Generation = c.index, c.spec.Generation
	})
}

// noRollout is the refusal of an order about a rollout that has ended, or never was.
func noRollout(service string, last *wadi.RolloutStatus) string {
	switch {
	case last == nil:
		return fmt.Sprintf("no rollout of %s is under way", service)
	case last.Phase == wadi.RolloutDone:
		return fmt.Sprintf("no rollout of %s is under way: %s has taken over; wadi rollback %s goes back", service, last.Revision, service)
	}
	return fmt.Sprintf("no rollout of %s is under way: that of %s has ended (%s)", service, last.Revision, last.Phase)
}

// order reads a service, has change change it, and stores it; done gets the outcome. If the
// service is changed at the same moment it is read again, unless the order names an index.
func (a *Admission) order(ctx context.Context, o Order, change func(*candidate) error, done func(*candidate)) error {
	for try := 1; ; try++ {
		c, err := a.orderOnce(ctx, o, change)
		switch {
		case err == nil:
			done(c)
			return nil
		case !errors.Is(err, wadi.ErrConflict) || refused(err) || ctx.Err() != nil:
			return err
		case o.CheckIndex != nil || try == orderTries:
			return fmt.Errorf("%s was changed in the meantime; read it again, and try again: %w", o.Service, wadi.ErrConflict)
		}
	}
}

// refused reports whether err is a refusal, and no conflict of writes.
func refused(err error) bool {
	_, is := errors.AsType[*api.Error](err)
	return is
}

// orderOnce is order for one reading of the service.
func (a *Admission) orderOnce(ctx context.Context, o Order, change func(*candidate) error) (*candidate, error) {
	a = a.pinned()
	spec, index, err := a.Store.Spec(ctx, o.Service)
	if err != nil {
		return nil, fmt.Errorf("service %s: %w", o.Service, err)
	}
	conflict := func(format string, args ...any) error {
		return &api.Error{Status: http.StatusConflict, Message: fmt.Sprintf(format, args...)}
	}
	switch {
	case spec.Service.Namespace != o.Namespace:
		return nil, conflict("%s was replaced in the meantime; read it again", o.Service)
	case o.CheckIndex != nil && *o.CheckIndex != index:
		return nil, conflict("check_index is %d, but the stored index is %d; read it again", *o.CheckIndex, index)
	case spec.Deleting:
		return nil, conflict("%s is being deleted", o.Service)
	}
	c := &candidate{service: spec.Service, exists: true, stored: spec, spec: spec, index: index}
	if err := change(c); err != nil {
		return nil, err
	}
	if !c.changed {
		return c, nil
	}
	if c.spec.Applied == 0 {
		c.spec.Applied = spec.Generation
	}
	c.spec.Generation++
	if err := a.fits(ctx, []*candidate{c}); err != nil {
		return nil, err
	}
	_, submissions := changes([]*candidate{c})
	storing, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout) // As in Submit.
	defer cancel()
	indexes, err := a.Store.Submit(storing, submissions)
	if err != nil {
		adm := &admitted{permitted: map[string]bool{o.Namespace: true}}
		if taken := a.takenSince(ctx, err, adm, []*candidate{c}); taken != nil {
			return nil, taken
		}
		return nil, fmt.Errorf("store %s: %w", o.Service, err)
	}
	c.index = indexes[o.Service]
	a.Log.Info("ordered", "service", o.Service, "generation", c.spec.Generation, "traffic", c.spec.TrafficOrder, "rollout", c.spec.Order.Action, "by", o.By)
	return c, nil
}

// stored completes the answer about the traffic of a candidate.
func stored(out *api.TrafficSet, c *candidate) {
	out.Service, out.Changed, out.Targets, out.Warnings = c.service.Name, c.changed, c.service.Traffic, c.warnings
	out.Index, out.Generation = c.index, c.spec.Generation
}

// setTraffic gives the candidate other targets, unless it has them.
func (c *candidate) setTraffic(targets []wadi.TrafficTarget, how wadi.TrafficOrder) {
	if slices.Equal(targets, c.stored.Service.Traffic) {
		return
	}
	c.service.Traffic, c.changed = targets, true
	c.spec.Service, c.spec.TrafficOrder = c.service, how
}

// setOrder gives the candidate another order about its rollouts.
func (c *candidate) setOrder(o wadi.RolloutOrder) { c.spec.Order, c.changed = o, true }

// checkTargets refuses targets that can't be, as those of a submission.
func (a *Admission) checkTargets(ctx context.Context, c *candidate) error {
	var refused refusals
	revisions, err := a.Store.Revisions(ctx, c.service.Name)
	if err != nil && !errors.Is(err, wadi.ErrUnreadable) {
		return fmt.Errorf("read revisions of %s: %w", c.service.Name, err)
	}
	if err := a.checkTraffic(ctx, c, false, revisions, &refused); err != nil {
		return err
	}
	adm := &admitted{permitted: map[string]bool{c.service.Namespace: true}, candidates: []*candidate{c}}
	if err := a.checkNames(ctx, adm, &refused); err != nil {
		return err
	}
	checkRuledTags(c, &refused)
	return refused.err()
}

// rolloutOf is the last rollout of a service, as the leader sees it; nil: there was none.
func (a *Admission) rolloutOf(ctx context.Context, c *candidate) (*wadi.RolloutStatus, error) {
	status, err := a.Store.Status(ctx, c.service.Name)
	if err != nil && !errors.Is(err, wadi.ErrNotFound) && !errors.Is(err, wadi.ErrUnreadable) {
		return nil, fmt.Errorf("read status of %s: %w", c.service.Name, err)
	}
	return status.Rollout, nil
}

// back reads what a rollback goes by.
func (a *Admission) back(ctx context.Context, c *candidate) (b plan.Back, err error) {
	name := c.service.Name
	b = plan.Back{Service: c.stored.Service, Latest: c.stored.Latest, Attempt: c.stored.Attempt, Order: c.stored.TrafficOrder}
	if b.Revisions, err = a.Store.Revisions(ctx, name); err != nil && !errors.Is(err, wadi.ErrUnreadable) {
		return b, fmt.Errorf("read revisions of %s: %w", name, err)
	}
	if b.State, err = a.Store.State(ctx, name); err != nil && !errors.Is(err, wadi.ErrNotFound) {
		return b, fmt.Errorf("read state of %s: %w", name, err)
	}
	if b.Marks, err = a.Store.Marks(ctx, name); err != nil && !errors.Is(err, wadi.ErrUnreadable) {
		return b, fmt.Errorf("read marks of %s: %w", name, err)
	}
	if b.Route, err = a.Store.Route(ctx, name); err != nil && !errors.Is(err, wadi.ErrNotFound) {
		return b, fmt.Errorf("read route of %s: %w", name, err)
	}
	return b, nil
}
