package control

import (
	"fmt"
	"strings"

	"github.com/wadi-run/wadi"
)

// ConditionUsage is the type of the condition about what instances use of processor
// and memory. Only services that are scaled by usage have it.
const ConditionUsage = "UsageKnown"

// UsageReader knows what instances use of processor and memory.
type UsageReader interface {
	// Unread says why the usage of a revision's instances can't be read; empty: it can.
	Unread(revision string) string
}

// refreshUsage notes the revisions whose instances' usage can't be read. At zero there is
// nothing to read, and no problem.
func (c *Controller) refreshUsage(s *service) {
	s.usageUnread = nil
	if c.Observers.Usage == nil || s.Deleting || !usesUsage(s.Service.Scale) {
		return
	}
	for _, r := range s.Revisions {
		if why := c.Observers.Usage.Unread(r.ID); why != "" {
			s.usageUnread = append(s.usageUnread, fmt.Sprintf("%s: %s", r.ID, why))
		}
	}
}

// usageCondition says why a count can't fall.
func usageCondition(s *service) wadi.Condition {
	c := wadi.Condition{Type: ConditionUsage, OK: len(s.usageUnread) == 0}
	if !c.OK {
		c.Reason = "NotMeasured"
		c.Message = "what instances use can't be read, so that no count is lowered: " + strings.Join(s.usageUnread, "; ")
	}
	return c
}
