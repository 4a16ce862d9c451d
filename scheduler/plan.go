package scheduler

import (
	"cmp"
	"reflect"
	"slices"

	"github.com/wadi-run/wadi"
)

// Plan returns the steps that bring one service closer to its desired state. It is
// level-triggered and knows nothing of earlier steps, so a new leader continues where the
// last one stopped.
func Plan(d Desired, o Observed) []Action {
	d.Revisions = byNumber(d.Revisions)
	if d.Deleting {
		return planDelete(d, o)
	}
	acts, state := planPhases(d, o)
	acts = append(acts, planStarts(d, o, state)...)
	load := demandOf(&d, &o)
	steps, rollout := planRollout(&d, &o, state, load)
	acts = append(acts, steps...)
	want := targetsOf(d.Service, d.Latest, d.Revisions, state, rollout)
	route := planRoute(d, o, want, state, load)
	if rollout.Underway() { // It has a job before it has a share.
		want = append(want, wadi.RouteTarget{Revision: rollout.Revision})
	}
	moves := !reflect.DeepEqual(route, o.Route)
	// A revision that enters the route gets its job first. A revision that leaves the
	// route keeps its job until the mesh carries the new route: callers may still come
	// until then.
	first, later := []Action{}, []Action{}
	for _, r := range d.Revisions {
		jobs := planJob(d, o, r, state, route, want, o.Programmed && !moves)
		if Targeted(route, r.ID) && !Targeted(o.Route, r.ID) {
			first = append(first, jobs...)
		} else {
			later = append(later, jobs...)
		}
	}
	acts = append(acts, first...)
	if moves {
		acts = append(acts, Action{Kind: PutRoute, Route: route})
	} else if !o.Programmed && !o.ProgramTried {
		acts = append(acts, Action{Kind: Program, Route: route})
	}
	acts = append(acts, later...)
	return append(acts, planRetention(d, o, state, route, want)...)
}

// byNumber are revisions, oldest first.
func byNumber(revs []wadi.Revision) []wadi.Revision {
	return slices.SortedFunc(slices.Values(revs), func(a, b wadi.Revision) int { return cmp.Compare(a.Number, b.Number) })
}
