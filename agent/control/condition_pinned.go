package control

import (
	"fmt"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// ConditionPinned is the type of the condition that the newest ready revision has no share of
// the traffic, and a later one will have none either. It is shown only while that holds, which
// may be as somebody wants it: it is no fault. ReasonRollback: by a rollback; ReasonTraffic: by
// wadi traffic; ReasonFile: by the file.
const (
	ConditionPinned = "Pinned"
	ReasonRollback  = "Rollback"
	ReasonTraffic   = "Traffic"
	ReasonFile      = "File"
)

// pinnedCondition says what keeps new revisions from the traffic.
func pinnedCondition(s *service) (c wadi.Condition, pinned bool) {
	if s.Deleting || !wadi.Pinned(s.Service.Traffic) {
		return c, false
	}
	latest := s.Service
	latest.Traffic = []wadi.TrafficTarget{{Revision: wadi.Latest, Percent: 100}}
	newest := scheduler.RouteOf(latest, s.Latest, s.Revisions, s.State.Revisions).Targets[0].Revision
	if percentOf(s.wantedTargets(), newest) > 0 {
		return c, false
	}
	c = wadi.Condition{Type: ConditionPinned, OK: true, Reason: ReasonFile}
	by := "the file"
	if set := s.TrafficOrder; set != (wadi.TrafficOrder{}) {
		c.Reason, by = ReasonTraffic, set.String()
		if set.From != "" {
			c.Reason = ReasonRollback
			by += " from " + set.From
		}
	}
	c.Message = fmt.Sprintf("%s, the newest ready revision, gets no traffic, nor does a later one: it was set by %s; to end that: wadi traffic %s latest=100", newest, by, s.Service.Name)
	return c, true
}
