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
	Revisions []wadi.Revision
	State     wadi.State
	Marks     map[string]wadi.Mark
	Route     wadi.Route
}

// Revision returns the revision that gives the traffic up, and the one that gets it: the
// newest that was ready, is older than the one with most of the traffic, and is not being
// deleted. If the newest revision is not ready yet and would take over, that is the one that
// gives up, and what serves goes on. The error says why there is none.
func (b Back) Revision() (from, to string, err error) {
	main := b.Route.Main()
	_, serving, ok := wadi.SplitRevisionID(main)
	if !ok {
		return "", "", fmt.Errorf("no revision of %s has traffic yet", b.Service.Name)
	}
	newest := b.State.Revisions[b.Latest].Phase
	if b.Latest != main && (newest == wadi.Pending || newest == "") && !wadi.Pinned(b.Service.Traffic) {
		return b.Latest, main, nil
	}
	for _, r := range slices.SortedFunc(slices.Values(b.Revisions), newestFirst) {
		if r.Number < serving && wasReady(b.State.Revisions[r.ID]) && !b.Marks[r.ID].Deleted {
			return main, r.ID, nil
		}
	}
	return "", "", fmt.Errorf("no revision is older than %s, which has most of the traffic, and was ready", main)
}

func newestFirst(a, b wadi.Revision) int { return b.Number - a.Number }

// wasReady reports whether a revision has served, and may again.
func wasReady(s wadi.RevisionState) bool {
	return s.Phase == wadi.Ready || s.Phase == wadi.Retired && s.WasReady
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
