// Package plan compares what is stored of a service, and what Nomad and Consul have of it,
// with what a submission would make of it.
//
// It promises that all is pure: arguments in, differences out. What is written in the
// agent's own configuration is never in a difference, and each difference is bounded. It
// refuses to know where the states come from: package admission reads them, with the rights
// of the caller.
package plan

import (
	"slices"

	"github.com/wadi-run/wadi"
)

// Bounds of one difference.
const (
	maxParts = 1000 // Parts of one tree.
	maxValue = 500  // Characters of one value.
)

// Bound cuts a tree to a bounded number of parts and length of values.
func Bound(c wadi.Change) wadi.Change {
	left := maxParts
	return bound(c, &left)
}

func bound(c wadi.Change, left *int) wadi.Change {
	c.Name, c.Old, c.New = shorten(c.Name), shorten(c.Old), shorten(c.New)
	var kept []wadi.Change
	for i, part := range c.Changes {
		if *left <= 0 {
			kept = append(kept, wadi.Change{Kind: wadi.ChangeEdited, Name: "…", Note: "and " + wadi.Quantity(len(c.Changes)-i, "part") + " more"})
			break
		}
		*left--
		kept = append(kept, bound(part, left))
	}
	c.Changes = kept
	return c
}

func shorten(text string) string {
	if runes := []rune(text); len(runes) > maxValue {
		return string(runes[:maxValue-1]) + "…"
	}
	return text
}

// maxBases bounds the revisions that are asked for in Nomad.
const maxBases = 3

// Bases are the revisions with whose jobs a new revision is best compared, the best one
// first: the newest that may have a job in Nomad.
func Bases(revisions []wadi.Revision, state wadi.State) []wadi.Revision {
	var bases []wadi.Revision
	for _, r := range revisions {
		if state.Revisions[r.ID].Phase != wadi.Retired {
			bases = append(bases, r)
		}
	}
	slices.SortFunc(bases, func(a, b wadi.Revision) int { return b.Number - a.Number })
	return bases[:min(len(bases), maxBases)]
}

// Like is the new revision under the name of an earlier one. Its job differs from the
// earlier revision's job only in what was changed.
func Like(base, next wadi.Revision) wadi.Revision {
	like := next
	like.ID, like.Number, like.SpecHash = base.ID, base.Number, base.SpecHash
	if base.Proof != "" && next.Proof != "" {
		like.Proof = base.Proof
	}
	return like
}
