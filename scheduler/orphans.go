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

// Orphan is a job whose service is not stored.
type Orphan struct {
	OwnJob
	Since time.Time // When it was first found without a service.
}

// maxSwept is how many services may have left jobs behind. Orphans come from a rare race.
// If there are many, the store has rather lost services, as after a restore from an old
// backup; stopping jobs that serve callers would make that worse.
const maxSwept = 5

// Orphans are the jobs found now without a stored service, given the orphans before. A job
// that was registered again since counts as new.
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

// Sweep returns the orphans to stop: those older than grace. Grace must be longer than a
// submission takes, as a submission registers the job before it stores the service.
// warnedTooMany: there are so many that none is stopped.
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
