package agent

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wadi-run/wadi"
)

// ConditionShielded is the type of the condition of a service whose app can be reached
// past its queue-proxy, and so by those whom the intentions keep out. Others have none.
const ConditionShielded = "Shielded"

// lookAtApps notes of which revisions in the mesh the app listens on more than loopback,
// and tells so once of each. What was known stays so at zero.
func (c *Controller) lookAtApps(s *service) {
	if c.Wide == nil {
		return
	}
	listed := map[string]bool{}
	for _, r := range s.Revisions {
		listed[r.ID] = true
		at, known := c.Wide(r.ID)
		switch was := s.wide[r.ID]; {
		case !known || was == at:
		case at == "":
			delete(s.wide, r.ID)
		default:
			if s.wide == nil {
				s.wide = map[string]string{}
			}
			s.wide[r.ID] = at
			if !s.warned[r.ID] {
				s.warn(r.ID)
				c.Events.Add(s.Service.Name, r.ID, "ListensWide", wideText(at))
			}
		}
	}
	maps.DeleteFunc(s.wide, func(id, _ string) bool { return !listed[id] })
	maps.DeleteFunc(s.warned, func(id string, _ bool) bool { return !listed[id] })
}

func (s *service) warn(revision string) {
	if s.warned == nil {
		s.warned = map[string]bool{}
	}
	s.warned[revision] = true
}

func wideText(at string) string {
	return fmt.Sprintf("the app listens on %s: whoever reaches the instance's address gets to it past the queue-proxy, "+
		"whatever the intentions say, and is not counted; let it listen on 127.0.0.1", at)
}

// shieldedCondition says whose apps can be reached.
func shieldedCondition(s *service) wadi.Condition {
	c := wadi.Condition{Type: ConditionShielded, Reason: "ListensWide"}
	var told []string
	for _, id := range slices.Sorted(maps.Keys(s.wide)) {
		told = append(told, id+": "+wideText(s.wide[id]))
	}
	if more := len(told) - 1; more > 0 { // They are alike, mostly.
		told = append(told[:1], fmt.Sprintf("and %d more revisions", more))
	}
	c.Message = strings.Join(told, "; ")
	return c
}
