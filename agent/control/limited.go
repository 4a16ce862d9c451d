package control

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
)

// ConditionDrains is the type of the condition of a service whose instances may not
// drain for as long as its requests may take. Others have none.
const ConditionDrains = "DrainsInTime"

// refreshDrainLimits notes of which revisions a client of Nomad ends drains early. It says so
// only as it ends one: nothing else in Nomad tells. What was known stays so.
func (c *Controller) refreshDrainLimits(s *service) {
	listed := map[string]bool{}
	for _, r := range s.Revisions {
		listed[r.ID] = true
		eps, _ := c.Cluster.Endpoints(s.Service.Namespace, r.ID)
		for _, ep := range eps { // The oldest first: the latest one counts.
			switch asked := r.Spec.Timeout.Request.D(); {
			case ep.KillAfter == 0:
			case ep.KillAfter < asked:
				if s.limited == nil {
					s.limited = map[string]string{}
				}
				s.limited[r.ID] = limitedText(r.ID, ep.KillAfter, asked)
			default:
				delete(s.limited, r.ID)
			}
		}
	}
	maps.DeleteFunc(s.limited, func(id, _ string) bool { return !listed[id] })
}

func limitedText(revision string, limit, asked time.Duration) string {
	return fmt.Sprintf("Nomad's client ends an instance of %s after %v, though its requests may take %v: longer ones are cut when "+
		"a node is drained, a job stopped, a count set by hand or the service deleted, though not when Wadi lowers a count", revision, limit, asked)
}

// drainsCondition says so of the newest revision that is concerned.
func drainsCondition(s *service) wadi.Condition {
	ids := slices.Sorted(maps.Keys(s.limited))
	return wadi.Condition{Type: ConditionDrains, Reason: "MaxKillTimeout", Message: s.limited[ids[len(ids)-1]]}
}
