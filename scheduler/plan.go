package scheduler

import (
	"cmp"
	"reflect"
	"slices"

	"github.com/wadi-run/wadi"
)

// Plan returns the steps that bring one service closer to what is desired. It is
// level-triggered: it knows nothing of earlier steps, so whoever leads goes on
// where the last one stopped.
func Plan(d Desired, o Observed) []Action {
	d.Revisions = slices.SortedFunc(slices.Values(d.Revisions), func(a, b wadi.Revision) int {
		return cmp.Compare(a.Number, b.Number)
	})
	if d.Deleting {
		return planDelete(d, o)
	}
	acts, state := planPhases(d, o)
	acts = append(acts, planStarts(d, o, state)...)
	want := targetsOf(d.Service, d.Latest, d.Revisions, state)
	route := planRoute(d, o, want, state)
	moves := !reflect.DeepEqual(route, o.Route)
	// A revision that the route comes to name has its job before; one that it no
	// longer names keeps its job until then, and one that took traffic until the mesh
	// carries the new route: callers may still be led to it.
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
