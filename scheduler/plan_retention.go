package scheduler

import (
	"time"

	"github.com/wadi-run/wadi"
)

// planRetention forgets the oldest revisions beyond those that are kept, and those that were
// deleted. None that has or shall have traffic is forgotten.
func planRetention(d Desired, o Observed, state map[string]wadi.RevisionState, route wadi.Route, want []wadi.RouteTarget) []Action {
	var idle []wadi.Revision
	var acts []Action
	for _, r := range d.Revisions {
		gone := state[r.ID].Phase == wadi.Retired || state[r.ID].Phase == wadi.Failed
		used := Targeted(route, r.ID) || among(want, r.ID) || r.ID == d.Latest
		switch mark := d.Marks[r.ID]; {
		case !gone || used || o.Jobs[r.ID].Exists:
		case mark.Deleted:
			acts = append(acts, Action{Kind: ForgetRevision, Revision: r.ID, Reason: "deleted"})
		case !mark.Pinned:
			idle = append(idle, r)
		}
	}
	for i, r := range idle[:max(0, len(idle)-d.Service.Retention.Keep)] {
		old := o.Now.Sub(time.Unix(r.Created, 0)) >= d.Retention.KeepFor &&
			o.Now.Sub(state[r.ID].Since) >= d.Retention.KeepActiveFor
		if tooMany := d.Retention.Max > 0 && len(idle)-i > d.Retention.Max; old || tooMany {
			acts = append(acts, Action{Kind: ForgetRevision, Revision: r.ID, Reason: "older than the revisions that are kept"})
		}
	}
	return acts
}
