package control

import (
	"fmt"
	"time"

	"github.com/wadi-run/wadi"
)

// ConditionDrains is the type of the condition of a service whose instances may not
// drain for as long as its requests may take. Others have none.
const ConditionDrains = "DrainsInTime"

// refreshDrainLimits notes which revisions' drains a client of Nomad ends early. Nomad
// says so only when it ends one, so what was known stays known.
func (c *Controller) refreshDrainLimits(s *service) {
	for _, r := range s.Revisions {
		eps, _ := c.Cluster.Endpoints(s.Service.Namespace, r.ID)
		for _, ep := range eps { // Oldest first: the latest counts.
			switch asked := r.Spec.Timeout.Request.D(); {
			case ep.KillAfter == 0:
			case ep.KillAfter < asked:
				s.notes(r.ID).drainLimit = drainLimitText(r.ID, ep.KillAfter, asked)
			default:
				s.notes(r.ID).drainLimit = ""
			}
		}
	}
}

func drainLimitText(revision string, limit, asked time.Duration) string {
	return fmt.Sprintf("Nomad's client ends an instance of %s after %v, though its requests may take %v: longer ones are cut when "+
		"a node is drained, a job stopped, a count set by hand or the service deleted, though not when Wadi lowers a count", revision, limit, asked)
}

// drainsCondition names the newest revision that is concerned.
func drainsCondition(s *service) (c wadi.Condition, inTime bool) {
	c = wadi.Condition{Type: ConditionDrains, Reason: "MaxKillTimeout"}
	for _, r := range s.Revisions {
		if limit := s.notes(r.ID).drainLimit; limit != "" {
			c.Message = limit
		}
	}
	return c, c.Message == ""
}
