package scheduler

import (
	"slices"
	"time"
)

// OwnJob is a job that this installation of Wadi has registered.
type OwnJob struct {
	Namespace, ID string
	Service       string
	Index         uint64 // Modify index.
}

// Orphan is one whose service is not stored, and since when that is known.
type Orphan struct {
	OwnJob
	Since time.Time
}

// maxSwept is how many services may have left jobs behind. What leaves them is a rare
// race; where there are more, it is rather the store that has lost services, as one does
// that is restored from a backup, and to end what serves callers would make it worse.
const maxSwept = 5

// Orphans are the jobs without a stored service that are found now, given those that were
// before. A job that somebody has registered since is a new one.
func Orphans(before []Orphan, found []OwnJob, now time.Time) []Orphan {
	var out []Orphan
	for _, j := range found {
		o := Orphan{j, now}
		if i := slices.IndexFunc(before, func(b Orphan) bool { return b.OwnJob == j }); i >= 0 {
			o.Since = before[i].Since
		}
		out = append(out, o)
	}
	return out
}

// Sweep returns the orphans that are to be stopped: those that have been some for grace,
// longer than a submission takes, which registers its job before it stores the service.
// tooMany: it is more than one can believe, and none is.
func Sweep(all []Orphan, now time.Time, grace time.Duration) (stop []Orphan, tooMany bool) {
	services := map[string]bool{}
	for _, o := range all {
		services[o.Service] = true
		if now.Sub(o.Since) >= grace {
			stop = append(stop, o)
		}
	}
	if len(services) > maxSwept {
		return nil, true
	}
	return stop, false
}
