package plan

import (
	"cmp"
	"slices"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// Share is the traffic of one revision, or of one tag of it, before and after, in percent.
type Share struct {
	Revision, Tag string
	Before, After float64
	Had, Has      bool // There is such a target before, and after.
}

// Shares compares the targets of two routes.
func Shares(before, after []wadi.RouteTarget) []Share {
	type key struct{ revision, tag string }
	all := map[key]Share{}
	for _, t := range before {
		k := key{t.Revision, t.Tag}
		s := all[k]
		s.Had, s.Before = true, s.Before+percent(t.Weight)
		all[k] = s
	}
	for _, t := range after {
		k := key{t.Revision, t.Tag}
		s := all[k]
		s.Has, s.After = true, s.After+percent(t.Weight)
		all[k] = s
	}
	out := make([]Share, 0, len(all))
	for k, s := range all {
		s.Revision, s.Tag = k.revision, k.tag
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Share) int { return cmp.Or(cmp.Compare(a.Revision, b.Revision), cmp.Compare(a.Tag, b.Tag)) })
	return out
}

func percent(weight int) float64 { return float64(weight) * 100 / wadi.WeightAll }

// Route is the route of a service once all that it names is ready.
func Route(s wadi.Service, latest string, revisions []wadi.Revision, state wadi.State) wadi.Route {
	ready := map[string]wadi.RevisionState{}
	for _, r := range revisions {
		st := state.Revisions[r.ID]
		if r.ID == latest || scheduler.Named(s, r.ID) {
			st.Phase, st.Reason, st.Rejected = wadi.Ready, "", "" // It is submitted again.
		}
		ready[r.ID] = st
	}
	return scheduler.RouteOf(s, latest, revisions, ready)
}

// Kind says how the target changes.
func (s Share) Kind() wadi.ChangeKind {
	switch {
	case !s.Had:
		return wadi.ChangeAdded
	case !s.Has:
		return wadi.ChangeDeleted
	case s.Before != s.After:
		return wadi.ChangeEdited
	}
	return wadi.ChangeNone
}
