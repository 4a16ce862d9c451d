package control

import (
	"fmt"
	"strings"

	"github.com/wadi-run/wadi"
)

// Callers is what Consul's intentions say about Wadi itself, kept up to date by
// somebody else.
type Callers interface {
	// Missing lists those of Wadi's own identities that a service's intentions keep
	// out and that have to be let in; a public service has to let the gateway in too.
	// known is false while nobody has read the intentions.
	Missing(service string, public bool) (identities []string, known bool)
	Notifier // Of a change of any intention.
}

// ConditionCallers is the type of the condition about intentions that somebody
// else writes.
const ConditionCallers = "CallersAllowed"

// refreshCallers notes who of Wadi's own is kept out. Intentions that the service
// itself has are written by the network layer, and those of a service outside the
// mesh mean nothing.
func (c *Controller) refreshCallers(s *service) {
	s.missingCallers, s.callersKnown = nil, false
	if c.Observers.Callers == nil || s.Deleting || s.Service.Intentions != nil || s.Service.Mesh == wadi.MeshOff {
		return
	}
	s.missingCallers, s.callersKnown = c.Observers.Callers.Missing(s.Service.Name, s.Service.Visibility == wadi.Public)
}

// callersCondition says what to add to intentions that are not Wadi's to write.
// Instances that run serve those whom the intentions let in all the same: it is no
// matter of readiness.
func callersCondition(s *service) wadi.Condition {
	c := wadi.Condition{Type: ConditionCallers, OK: len(s.missingCallers) == 0}
	if c.OK {
		return c
	}
	var sources []string
	for _, name := range s.missingCallers {
		sources = append(sources, fmt.Sprintf("{ Name = %q Action = \"allow\" }", name))
	}
	c.Reason = "IntentionMissing"
	c.Message = fmt.Sprintf("Consul's intentions refuse %s for %s: add %s to service-intentions %s",
		strings.Join(s.missingCallers, " and "), s.Service.Name, strings.Join(sources, " and "), s.Service.Name)
	return c
}
