package scheduler

import (
	"fmt"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
)

// Prefetch is how far the images of a revision are on the nodes that could run it.
type Prefetch struct {
	Off     string         // Why nothing is fetched; empty: it is.
	Queued  bool           // Other revisions come first.
	Placed  bool           // Nomad has placed it: there are no more nodes than Nodes.
	Nodes   []PrefetchNode // Sorted by name.
	NoRoom  int            // Nodes that have no capacity even for this.
	Skipped []string       // Images that are not fetched, and why: a sentence for each.
	Problem string         // Why it is not known how far it is; empty: it is known.
}

// PrefetchNode is a node that could run the revision.
type PrefetchNode struct {
	Name   string
	Done   bool   // It has the images.
	Failed bool   // It does not get them.
	Reason string // Why it does not have them yet; empty: it still pulls them.
}

const (
	maxPrefetch      = 5 * time.Minute // A revision waits no longer for its images.
	maxPrefetchNamed = 3               // Nodes that a text names.
)

// AwaitsImages reports whether the revision neither starts nor gets traffic yet, because
// its images are fetched first: it is new and was never ready.
func AwaitsImages(svc *wadi.Service, latest, revision string, s wadi.RevisionState) bool {
	return svc.ImagePrefetch && !s.WasReady && s.Prefetch == "" && (s.Phase == wadi.Pending || s.Phase == "") &&
		(revision == latest || Named(*svc, revision))
}

// awaitsImages reports whether a pending revision still waits for its images, and how the
// wait ends now; empty: it does not end.
func awaitsImages(d Desired, o Observed, r wadi.Revision, s wadi.RevisionState) (awaits bool, end string) {
	if !AwaitsImages(&d.Service, d.Latest, r.ID, s) {
		return false, ""
	}
	waited := o.Now.Sub(pendingSince(r, s, o))
	end = prefetchEnd(o.Prefetch[r.ID], waited, !o.Now.Before(PrefetchUntil(r, s, o)))
	return end == "", end
}

// PrefetchUntil is when a pending revision waits no longer for its images: half of the time
// in which it is to become ready is left for its start.
func PrefetchUntil(r wadi.Revision, s wadi.RevisionState, o Observed) time.Time {
	began := pendingSince(r, s, o)
	return began.Add(min(maxPrefetch, r.Spec.Timeout.Progress.D()/2))
}

// prefetchEnd is how the wait for images ended; empty: it goes on. It ends when each node has
// them or does not get them, whichever: the revision starts all the same.
func prefetchEnd(p Prefetch, waited time.Duration, late bool) string {
	switch {
	case p.Off != "":
		return wadi.OneLine(p.Off, maxPrefetchText)
	case late:
		return fmt.Sprintf("given up after %s: %s", span(waited), p)
	case p.Queued || !p.Placed || p.Problem != "":
		return ""
	}
	for _, n := range p.Nodes {
		if !n.Done && !n.Failed {
			return ""
		}
	}
	return p.String()
}

const maxPrefetchText = 400 // Characters: much of it comes from registries.

// String says how far it is.
func (p Prefetch) String() string {
	var parts []string
	done := 0
	for _, n := range p.Nodes {
		if n.Done {
			done++
		}
	}
	switch {
	case p.Off != "":
		return wadi.OneLine(p.Off, maxPrefetchText)
	case p.Queued:
		parts = append(parts, "the images of other revisions are fetched first")
	case !p.Placed && len(p.Nodes) == 0:
		parts = append(parts, "Nomad has not placed the job that fetches the images")
	case len(p.Nodes) == 0 && p.NoRoom == 0:
		parts = append(parts, "no node could run it: no image is fetched")
	default:
		all, verb := len(p.Nodes)+p.NoRoom, "have"
		if done == 1 || all == 1 {
			verb = "has"
		}
		parts = append(parts, fmt.Sprintf("%d of %s %s the images", done, wadi.Quantity(all, "node"), verb))
	}
	parts = append(parts, p.nodeTexts()...)
	if p.NoRoom > 0 {
		parts = append(parts, fmt.Sprintf("%s %s no capacity for them", wadi.Quantity(p.NoRoom, "node"), wadi.Plural(p.NoRoom, "has", "have")))
	}
	if p.Problem != "" {
		parts = append(parts, p.Problem)
	}
	return wadi.OneLine(strings.Join(append(parts, p.Skipped...), "; "), maxPrefetchText)
}

// nodeTexts are about nodes without the images, those with a reason first.
func (p Prefetch) nodeTexts() []string {
	var with, without []string
	for _, n := range p.Nodes {
		switch {
		case n.Done:
		case n.Reason != "":
			with = append(with, "node "+n.Name+": "+n.Reason)
		default:
			without = append(without, "node "+n.Name+" pulls them")
		}
	}
	all := append(with, without...)
	if more := len(all) - maxPrefetchNamed; more > 0 {
		all = append(all[:maxPrefetchNamed], fmt.Sprintf("and %s more", wadi.Quantity(more, "node")))
	}
	return all
}
