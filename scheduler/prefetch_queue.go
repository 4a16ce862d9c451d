package scheduler

import (
	"cmp"
	"slices"
	"time"
)

// PrefetchesAtOnce is how many revisions of all services have their images fetched at a
// time: each is on many nodes, and their registries are often the same.
const PrefetchesAtOnce = 4

// prefetchesReserved is how many more there may be of namespaces that have none: those who
// submit to one namespace, with registries that never answer, don't stop the others.
const prefetchesReserved = 4

// PrefetchJob is a job in Nomad that fetches the images of a revision.
type PrefetchJob struct {
	Namespace, ID     string
	Service, Revision string
	Index             uint64 // Modify index.
	Stopped           bool   // By a person.
}

// PrefetchWant is a revision whose images are to be fetched.
type PrefetchWant struct {
	Namespace, Service, Revision string
	Since                        time.Time // Since when it waits.
}

// PrefetchStep is what to do about a job that fetches images.
type PrefetchStep struct {
	Kind PrefetchStepKind
	Want PrefetchWant // Zero for PrefetchPurge.
	Job  PrefetchJob  // Zero if there is none.
}

// PrefetchStepKind says what a step does.
type PrefetchStepKind string

// The kinds of steps.
const (
	PrefetchPurge   PrefetchStepKind = "purge"   // Remove a job that nothing waits for.
	PrefetchStart   PrefetchStepKind = "start"   // Register a job.
	PrefetchRead    PrefetchStepKind = "read"    // Read how far it is.
	PrefetchEnqueue PrefetchStepKind = "enqueue" // It waits for its turn.
	PrefetchStopped PrefetchStepKind = "stopped" // Its job was stopped by a person.
)

// PlanPrefetches decides what to do, given all jobs of this installation that there are.
// Jobs are removed first. Of the revisions those with a job go on, then those that have
// waited longest, while there is a slot, or one that is reserved for their namespace.
func PlanPrefetches(want []PrefetchWant, jobs []PrefetchJob) []PrefetchStep {
	var steps []PrefetchStep
	of, in := map[string]PrefetchJob{}, map[string]int{} // By revision; how many by namespace.
	for _, j := range jobs {
		wanted := slices.ContainsFunc(want, func(w PrefetchWant) bool { return w.Revision == j.Revision && w.Namespace == j.Namespace })
		if !wanted {
			steps = append(steps, PrefetchStep{Kind: PrefetchPurge, Job: j})
			continue
		}
		of[j.Revision] = j
		in[j.Namespace]++
	}
	want = slices.SortedFunc(slices.Values(want), func(a, b PrefetchWant) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Revision, b.Revision))
	})
	n := len(of)
	for _, w := range want {
		job, exists := of[w.Revision]
		step := PrefetchStep{Kind: PrefetchRead, Want: w, Job: job}
		switch {
		case exists && job.Stopped:
			step.Kind = PrefetchStopped
		case exists:
		case n < PrefetchesAtOnce, n < PrefetchesAtOnce+prefetchesReserved && in[w.Namespace] == 0:
			n++
			in[w.Namespace]++
			step.Kind = PrefetchStart
		default:
			step.Kind = PrefetchEnqueue
		}
		steps = append(steps, step)
	}
	return steps
}
