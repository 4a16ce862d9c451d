package scheduler

import (
	"cmp"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
)

// planRetention forgets revisions beyond those that are kept, and those that were deleted.
// None is forgotten that has or shall have traffic or a tag, or that the traffic or a
// rollout names, and by number and age no pinned one and not the one that [wadi.Latest]
// stands for: a service whose newest revision failed goes back to it.
func planRetention(d Desired, o Observed, state map[string]wadi.RevisionState, route wadi.Route, want []wadi.RouteTarget) []Action {
	var idle []wadi.Revision
	var acts []Action
	ready := latestReady(d.Latest, d.Revisions, state)
	for _, r := range d.Revisions {
		gone := state[r.ID].Phase == wadi.Retired || state[r.ID].Phase == wadi.Failed
		used := Targeted(route, r.ID) || among(want, r.ID) || Named(d.Service, r.ID) || r.ID == d.Latest
		switch mark := d.Marks[r.ID]; {
		case !gone || used || o.Jobs[r.ID].Exists:
		case mark.Deleted:
			acts = append(acts, Action{Kind: ForgetRevision, Revision: r.ID, Reason: "deleted"})
		case !mark.Pinned && r.ID != ready:
			idle = append(idle, r)
		}
	}
	slices.SortStableFunc(idle, func(a, b wadi.Revision) int { return byLastUse(state[a.ID], state[b.ID]) })
	keepFor, keepActiveFor := d.ages()
	for i, r := range idle[:max(0, len(idle)-d.Service.Retention.Keep)] {
		old := o.Now.Sub(time.Unix(r.Created, 0)) >= keepFor && o.Now.Sub(state[r.ID].Since) >= keepActiveFor
		if tooMany := d.Retention.Max > 0 && len(idle)-i > d.Retention.Max; old || tooMany {
			acts = append(acts, Action{Kind: ForgetRevision, Revision: r.ID, Reason: "older than the revisions that are kept"})
		}
	}
	return acts
}

// byLastUse orders revisions without traffic: first those that never were ready, to which
// nobody goes back, then by when they last had traffic. A revision is retired when its last
// instance has ended after that.
func byLastUse(a, b wadi.RevisionState) int {
	switch {
	case a.WasReady != b.WasReady && b.WasReady:
		return -1
	case a.WasReady != b.WasReady:
		return 1
	}
	return cmp.Compare(a.Since.UnixNano(), b.Since.UnixNano())
}

// ages are the service's own, or else the agent's.
func (d Desired) ages() (keepFor, keepActiveFor time.Duration) {
	keepFor, keepActiveFor = d.Retention.KeepFor, d.Retention.KeepActiveFor
	if own := d.Service.Retention.KeepFor; own != nil {
		keepFor = own.D()
	}
	if own := d.Service.Retention.KeepActiveFor; own != nil {
		keepActiveFor = own.D()
	}
	return keepFor, keepActiveFor
}
