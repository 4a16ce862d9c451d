package control

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
)

// reportUnreadable says in the stored status that the leader can't read a service. What
// the leader knew before stays in force.
func (c *Controller) reportUnreadable(ctx context.Context, name string, was wadi.Status, why error) error {
	st := was
	st.Service = name
	st.Conditions = slices.DeleteFunc(slices.Clone(was.Conditions), func(c wadi.Condition) bool { return c.Type == wadi.ConditionStored })
	st.Conditions = append(st.Conditions, wadi.Unreadable("the leader can't read it, and neither keeps it up nor scales it: "+why.Error()))
	keepSince(st.Conditions, was.Conditions, time.Now().UTC())
	if equalStatus(st, was) {
		return nil
	}
	if err := c.State.PutStatus(ctx, st); err != nil {
		return fmt.Errorf("say so: %w", err)
	}
	return nil
}

// storedCondition names what can't be read and is not needed.
func storedCondition(s *service) wadi.Condition {
	return wadi.Unreadable(strings.Join(s.Unreadable, "; "))
}
