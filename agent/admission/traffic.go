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

// checkTraffic refuses targets with revisions that are unknown or being deleted. Stored
// targets were correct when they were submitted: for them it is a warning. A failed revision
// is no mistake in a file, as it is tried again; an order tries none again.
func (a *Admission) checkTraffic(ctx context.Context, c *candidate, kept bool, revisions []wadi.Revision, refused *refusals) error {
	if why := jobspecs.MirrorProblem(c.service); why != "" {
		refused.invalid(c, "mirror.tag", "%s", why)
	}
	if !slices.ContainsFunc(c.service.Traffic, func(t wadi.TrafficTarget) bool { return t.Revision != wadi.Latest }) {
		return nil
	}
	state, err := a.Store.State(ctx, c.service.Name)
	if err != nil && !errors.Is(err, wadi.ErrNotFound) {
		return fmt.Errorf("read state of %s: %w", c.service.Name, err)
	}
	marks, err := a.Store.Marks(ctx, c.service.Name)
	if err != nil && !errors.Is(err, wadi.ErrUnreadable) {
		return fmt.Errorf("read marks of %s: %w", c.service.Name, err)
	}
	left := slices.DeleteFunc(slices.Clone(revisions), func(r wadi.Revision) bool { return marks[r.ID].Deleted })
	for i, t := range c.service.Traffic {
		why := ""
		known := slices.ContainsFunc(revisions, func(r wadi.Revision) bool { return r.ID == t.Revision })
		switch {
		case t.Revision == wadi.Latest:
		case !c.exists:
			why = fmt.Sprintf("there is no revision %q yet, the service is new; write revision = \"latest\"", t.Revision)
		case c.rev != nil && t.Revision == c.rev.ID: // This submission makes it.
		case !known:
			why = fmt.Sprintf("there is no revision %q; there are: %s", t.Revision, choices(c, left, state))
		case marks[t.Revision].Deleted:
			why = fmt.Sprintf("revision %q is being deleted; there are: %s", t.Revision, choices(c, left, state))
		case c.draft == nil && failed(state.Revisions[t.Revision], c.stored.Attempt):
			why = fmt.Sprintf("revision %q has failed: %s; apply a file that names it to try it again, or choose of: %s", t.Revision, state.Revisions[t.Revision].Reason, choices(c, left, state))
		}
		switch {
		case why == "":
		case kept:
			c.warnings = append(c.warnings, "traffic: what is stored stays, but "+why)
		default:
			refused.invalid(c, c.targetPath(i)+".revision", "%s", why)
		}
	}
	return nil
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

// choices lists the revisions that can have traffic, the newest first.
func choices(c *candidate, revisions []wadi.Revision, state wadi.State) string {
	names := []string{wadi.Latest}
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
