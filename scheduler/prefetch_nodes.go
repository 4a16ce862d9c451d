package scheduler

import (
	"cmp"
	"slices"
	"strings"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/pulls"
)

// PrefetchAlloc is an allocation of the job that fetches images.
type PrefetchAlloc struct {
	Node            string // Its name.
	Created         int64
	Status, Desired string // Nomad's words.
	Tasks           []PrefetchTask
}

// PrefetchTask is a task of one image.
type PrefetchTask struct {
	Name    string
	Started bool   // Its container was started.
	Failure string // The driver's last message of a failure since then; empty: none.
}

// PrefetchNodes judges which nodes have all images, by the latest allocation of each.
func PrefetchNodes(allocs []PrefetchAlloc) []PrefetchNode {
	latest := map[string]PrefetchAlloc{}
	for _, a := range allocs {
		if before, known := latest[a.Node]; !known || a.Created > before.Created {
			latest[a.Node] = a
		}
	}
	var out []PrefetchNode
	for _, a := range latest {
		out = append(out, prefetchNode(a))
	}
	slices.SortFunc(out, func(a, b PrefetchNode) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

const maxPrefetchReason = 200 // Characters of a failure that is told in the engine's words.

// prefetchNode judges one allocation. A hopeless failure is not waited out, as Nomad would.
func prefetchNode(a PrefetchAlloc) PrefetchNode {
	n := PrefetchNode{Name: a.Node}
	all := len(a.Tasks) > 0
	for _, t := range a.Tasks {
		if hasImage(t) {
			continue
		}
		all = false
		failure := pulls.Classify(t.Failure)
		n.Failed = n.Failed || failure.Hopeless()
		if n.Reason == "" && t.Failure != "" {
			n.Reason = "task " + t.Name + ": " + pullText(failure, t.Failure)
		}
	}
	switch {
	case all || a.Status == "complete" && a.Desired == "run":
		return PrefetchNode{Name: a.Node, Done: true}
	case a.Status == "lost":
		n.Failed, n.Reason = true, "the node is lost"
	case a.Status == "failed" || a.Status == "complete" || a.Desired != "run":
		n.Failed, n.Reason = true, cmp.Or(n.Reason, "its task was stopped")
	}
	return n
}

// startedInVain are how drivers begin the message that a container can't be made of an
// image that they have.
var startedInVain = []string{"failed to create container", "failed to start container", "failed to start task, could not create container", "failed to start task, could not start container"}

// hasImage reports whether the node has a task's image. That its container could not be
// started says nothing against that.
func hasImage(t PrefetchTask) bool {
	return t.Started || slices.ContainsFunc(startedInVain, func(begin string) bool {
		return strings.HasPrefix(strings.ToLower(t.Failure), begin)
	})
}

func pullText(kind wadi.PullFailure, message string) string {
	if kind == "" || kind == wadi.PullOther {
		return wadi.OneLine(message, maxPrefetchReason)
	}
	return kind.String()
}
