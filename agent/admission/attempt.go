package admission

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/wadi-run/wadi"
)

// tryAgain finds the failed revisions that the submission wants, and the newest one if its
// rollout was aborted or rolled back. A revision often fails for
// an outside reason, such as an unavailable database; submitting it again means that the
// reason is gone. The spec stores a number, the attempt. The leader compares it with the
// attempt at which a revision failed, so that each submission is one attempt under every
// leader.
func (a *Admission) tryAgain(ctx context.Context, c *candidate, revisions []wadi.Revision) error {
	wanted := map[string]bool{c.spec.Latest: true}
	for _, t := range c.service.Traffic {
		wanted[t.Revision] = true
	}
	for _, rule := range c.service.Routes {
		wanted[rule.Revision] = true
	}
	if !slices.ContainsFunc(revisions, func(r wadi.Revision) bool { return wanted[r.ID] }) {
		return nil
	}
	state, err := a.Store.State(ctx, c.service.Name)
	if err != nil && !errors.Is(err, wadi.ErrNotFound) {
		return fmt.Errorf("read state of %s: %w", c.service.Name, err)
	}
	for _, r := range revisions {
		st := state.Revisions[r.ID]
		if wanted[r.ID] && st.Phase == wadi.Failed || r.ID == c.spec.Latest && st.Rejected != "" {
			c.retried = append(c.retried, r.ID)
		}
	}
	if len(c.retried) > 0 {
		slices.Sort(c.retried)
		c.spec.Attempt = c.spec.Generation
	}
	return nil
}
