package control

import (
	"fmt"
	"strings"

	"github.com/wadi-run/wadi"
)

// Callers is what Consul's intentions say about Wadi's own identities.
type Callers interface {
	// Missing lists Wadi's own identities that a service's intentions refuse and must allow;
	// a public service must allow the gateway too. known is false until the intentions were
	// read.
	Missing(service string, public bool) (identities []string, known bool)
	Notifier // Of a change of any intention.
}

// ConditionCallers is the type of the condition about intentions that Wadi does not manage.
const ConditionCallers = "CallersAllowed"

// refreshCallers notes which of Wadi's own identities are refused. Intentions in the
// service's file are written by the network layer, and a service outside the mesh obeys
// none.
func (c *Controller) refreshCallers(s *service) {
	s.missingCallers, s.callersKnown = nil, false
	if c.Observers.Callers == nil || s.Deleting || s.Service.Intentions != nil || s.Service.Mesh == wadi.MeshOff {
		return
	}
	s.missingCallers, s.callersKnown = c.Observers.Callers.Missing(s.Service.Name, s.Service.Visibility == wadi.Public)
}

// callersCondition says what to add to intentions that Wadi does not manage. It does not
// concern readiness: running instances still serve allowed callers.
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
