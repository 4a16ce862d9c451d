package plan

import (
	"fmt"
	"slices"

	"github.com/wadi-run/wadi"
)

// Back is what a rollback goes by.
type Back struct {
	Service   wadi.Service
	Latest    string
	Attempt   uint64
	Order     wadi.TrafficOrder
	Revisions []wadi.Revision
	State     wadi.State
	Marks     map[string]wadi.Mark
	Route     wadi.Route
}

// Revision returns the revision that gives the traffic up, and the one that gets it. Mostly
// that is the newest which was ready, is older than the one with most of the traffic, was not
// rejected by a rollout, and is not being deleted. But what has most of the traffic keeps it
// if a newer revision has or may get a share, as then that one is meant; and a second
// rollback changes nothing. The error says why there is none.
func (b Back) Revision() (from, to string, err error) {
	main := b.Route.Main()
	_, serving, ok := wadi.SplitRevisionID(main)
	pinned := wadi.Pinned(b.Service.Traffic)
	switch _, newest, _ := wadi.SplitRevisionID(b.Latest); {
	case !ok:
		return "", "", fmt.Errorf("no revision of %s has traffic yet", b.Service.Name)
	case pinned && b.Order.From != "":
		i := slices.IndexFunc(b.Service.Traffic, func(t wadi.TrafficTarget) bool { return t.Percent == 100 })
		if i >= 0 {
			return b.Order.From, b.Service.Traffic[i].Revision, nil
		}
	case !pinned && newest > serving:
		return b.Latest, main, nil
	}
	for _, r := range slices.SortedFunc(slices.Values(b.Revisions), newestFirst) {
		if r.Number < serving && b.served(r.ID) && !b.Marks[r.ID].Deleted {
			return main, r.ID, nil
		}
	}
	return "", "", fmt.Errorf("no revision is older than %s, which has most of the traffic, and was ready", main)
}

func newestFirst(a, b wadi.Revision) int { return b.Number - a.Number }

// served reports whether a revision was ready, and may have traffic again.
func (b Back) served(id string) bool {
	s := b.State.Revisions[id]
	return s.Servable() && (s.Rejected == "" || s.Forgiven(b.Attempt))
}

// Targets is all traffic to one revision. Tags stay, without a share.
func (b Back) Targets(to string) []wadi.TrafficTarget {
	var targets []wadi.TrafficTarget
	given := false
	for _, t := range b.Service.Traffic {
		if t.Tag == "" {
			continue
		}
		t.Percent = 0
		if t.Revision == to && !given {
			t.Percent, given = 100, true
		}
		targets = append(targets, t)
	}
	if !given {
		targets = append([]wadi.TrafficTarget{{Revision: to, Percent: 100}}, targets...)
	}
	return targets
}
