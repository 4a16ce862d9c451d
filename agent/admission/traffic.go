package admission

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/jobspecs"
)

// checkTraffic refuses targets and routes with revisions that are unknown or being deleted.
// Stored targets were correct when they were submitted: for them it is a warning. A failed revision
// is no mistake in a file, as it is tried again; an order tries none again.
func (a *Admission) checkTraffic(ctx context.Context, c *candidate, kept bool, revisions []wadi.Revision, refused *refusals) error {
	if why := jobspecs.MirrorProblem(c.service); why != "" {
		refused.invalid(c, "mirror.tag", "%s", why)
	}
	led := func(rule wadi.RouteRule) bool { return rule.Revision != "" && c.draft != nil }
	if !slices.ContainsFunc(c.service.Traffic, func(t wadi.TrafficTarget) bool { return t.Revision != wadi.Latest }) && !slices.ContainsFunc(c.service.Routes, led) {
		return nil
	}
	known, err := a.known(ctx, c, revisions)
	if err != nil {
		return err
	}
	for i, t := range c.service.Traffic {
		if t.Revision == wadi.Latest {
			continue
		}
		why := known.unfit(c, t.Revision, wadi.Latest)
		switch {
		case why == "":
		case kept:
			c.warnings = append(c.warnings, "traffic: what is stored stays, but "+why)
		default:
			refused.invalid(c, c.targetPath(i)+".revision", "%s", why)
		}
	}
	for _, rule := range c.service.Routes {
		if !led(rule) {
			continue
		}
		if why := known.unfit(c, rule.Revision); why != "" {
			refused.invalid(c, jobspecs.RoutePath(rule.Name)+".revision", "%s", why)
		}
	}
	return nil
}

// known is what is stored of a service's revisions.
type known struct {
	revisions []wadi.Revision
	state     wadi.State
	marks     map[string]wadi.Mark
}

func (a *Admission) known(ctx context.Context, c *candidate, revisions []wadi.Revision) (k known, err error) {
	k.revisions = revisions
	if k.state, err = a.Store.State(ctx, c.service.Name); err != nil && !errors.Is(err, wadi.ErrNotFound) {
		return k, fmt.Errorf("read state of %s: %w", c.service.Name, err)
	}
	if k.marks, err = a.Store.Marks(ctx, c.service.Name); err != nil && !errors.Is(err, wadi.ErrUnreadable) {
		return k, fmt.Errorf("read marks of %s: %w", c.service.Name, err)
	}
	return k, nil
}

// unfit says why a revision can get no requests, and what may be named in its place, besides
// others; empty: it can.
func (k known) unfit(c *candidate, id string, others ...string) string {
	there := func() string {
		left := slices.DeleteFunc(slices.Clone(k.revisions), func(r wadi.Revision) bool { return k.marks[r.ID].Deleted })
		return choices(c, left, k.state, others...)
	}
	instead := "name a tag of a traffic block"
	if slices.Contains(others, wadi.Latest) {
		instead = `write revision = "latest"`
	}
	switch {
	case !c.exists:
		return fmt.Sprintf("there is no revision %q yet, the service is new; %s", id, instead)
	case c.rev != nil && id == c.rev.ID: // This submission makes it.
		return ""
	case !slices.ContainsFunc(k.revisions, func(r wadi.Revision) bool { return r.ID == id }):
		return fmt.Sprintf("there is no revision %q; there are: %s", id, there())
	case k.marks[id].Deleted:
		return fmt.Sprintf("revision %q is being deleted; there are: %s", id, there())
	case c.draft == nil && failed(k.state.Revisions[id], c.stored.Attempt):
		return fmt.Sprintf("revision %q has failed: %s; apply a file that names it to try it again, or choose of: %s", id, k.state.Revisions[id].Reason, there())
	}
	return ""
}

// warnOfTraffic says that new revisions get no traffic, because it was set by a call, or that
// the file takes back what a call has set.
func (c *candidate) warnOfTraffic(kept bool) {
	set := c.stored.TrafficOrder
	switch {
	case set == (wadi.TrafficOrder{}):
	case kept && wadi.Pinned(c.service.Traffic):
		who := "a new revision"
		if c.rev != nil {
			who = c.rev.ID
		}
		c.warnings = append(c.warnings, fmt.Sprintf("traffic: \"latest\" is pinned by %s, so %s gets no traffic; to give it some: wadi traffic %s latest=100", set, who, c.service.Name))
	case !kept && !slices.Equal(c.stored.Service.Traffic, c.service.Traffic):
		c.warnings = append(c.warnings, fmt.Sprintf("traffic: the file's takes the place of what was set by %s", set))
	}
}

// failed reports whether a revision has failed, and is not being tried again.
func failed(s wadi.RevisionState, attempt uint64) bool {
	return s.Phase == wadi.Failed && !s.TriedAgain(attempt)
}

// shownRevisions is how many revisions a message names.
const shownRevisions = 8

// choices lists others and the revisions that can have traffic, the newest first.
func choices(c *candidate, revisions []wadi.Revision, state wadi.State, others ...string) string {
	names := slices.Clone(others)
	if c.rev != nil {
		names = append(names, c.rev.ID)
	}
	revisions = slices.SortedFunc(slices.Values(revisions), func(a, b wadi.Revision) int { return b.Number - a.Number })
	for _, r := range revisions {
		if state.Revisions[r.ID].Phase != wadi.Failed {
			names = append(names, r.ID)
		}
	}
	if more := len(names) - shownRevisions; more > 0 {
		names = append(names[:shownRevisions], "and "+wadi.Quantity(more, "older one"))
	}
	return strings.Join(names, ", ")
}
