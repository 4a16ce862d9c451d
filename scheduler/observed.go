package scheduler

import (
	"time"

	"github.com/wadi-run/wadi"
)

// Desired is what was submitted of one service, with the leader's memory of it.
type Desired struct {
	Service   wadi.Service
	Latest    string // The latest revision.
	Attempt   uint64 // Revisions that failed at an earlier attempt are tried again.
	Deleting  bool
	Order     wadi.RolloutOrder // The last one.
	Revisions []wadi.Revision   // All stored revisions.
	State     wadi.State
	Retention Retention            // The agent's setting.
	Marks     map[string]wadi.Mark // By revision: what callers want of it.
}

// Retention bounds, for all services, how long revisions without traffic are kept.
// Revisions beyond a service's own retention.keep are removed when both ages have passed.
type Retention struct {
	KeepFor       time.Duration // Since it was submitted.
	KeepActiveFor time.Duration // Since it last had traffic.
	Max           int           // Revisions of one service, whatever their age; 0: no bound.
}

// Observed is the state of one service in Nomad, Consul and its instances.
type Observed struct {
	Now       time.Time
	Jobs      map[string]JobState  // By revision; missing: no job.
	Adopted   map[string]uint64    // By revision: the highest modify index of its job that Wadi wrote.
	Checks    map[string]Check     // By revision: the latest check of its job; missing: none.
	Instances map[string]Instances // By revision.
	Wanted    map[string]int       // By revision: what the autoscaler last wanted.
	Prefetch  map[string]Prefetch  // By revision that awaits its images; missing: nothing is known yet.
	Began     map[string]time.Time // By pending revision: when its progress deadline began, without the time when no leader observed it.

	// Outcomes are by revision, since the weights of the rollout's present step were
	// programmed, or since this leader's term began; missing: not known.
	Outcomes      map[string]wadi.Outcomes
	OutcomesSince time.Time         // That moment.
	NoOutcomes    map[string]string // By revision: why they are not known.

	Loaded  map[string]int // By revision: how many instances its own load needs, by the autoscaler; missing: not known.
	Ceiling int            // The agent's limit of instances of one revision; 0: none.
	Moved   time.Time      // When the weights were last moved in this term; zero: not yet.

	Route        wadi.Route // The stored route; zero: none.
	Programmed   bool       // The network layers carry the stored route; it was read back.
	ProgramTried bool       // The network layers were programmed lately: not again in this pass.
	GivenUp      bool       // The network layers can't be programmed, or were not for too long: the rest of the plan no longer waits for them.
	Leftovers    bool       // Network layers still hold something of the service.
}

// Check is the question to Nomad's plan whether a job still is as it was stored.
type Check struct {
	Index   uint64 // The job's modify index that was checked.
	Drifted bool   // The job differs from what was stored.
}

// Instances counts a revision's allocations.
type Instances struct {
	Alive         int    // Placed and not stopped.
	Stopping      int    // Stopped in Nomad, and not ended yet.
	Ready         int    // Ready for requests.
	Unknown       bool   // How many are ready is not known: not all were probed yet.
	Pulling       int    // Alive ones whose images are pulled now.
	Diagnosis     string // Why Nomad can't run the revision; empty: it can.
	UnreadyReason string // Why running instances are not ready, as they report it; empty: not known.

	DrainReason string // What stopping instances wait for, as they report it; empty: not known.

	Since time.Time // Since when Diagnosis is not empty.

	// GivenUp are the problems of the latest instances of this attempt, oldest first. It
	// is empty unless each ended with an error that only a person can end.
	GivenUp []string

	PullFailure wadi.PullFailure // Why the newest instances that lack their image lack it; empty: none does.
	PullPause   PullPause        // How long none is started because of that; zero: one may be.
}

// JobState is the state of a revision's job in Nomad.
type JobState struct {
	Exists  bool
	Stopped bool   // By `nomad job stop`; Count is meaningless then.
	Count   int    // The count of the group "instance".
	Index   uint64 // JobModifyIndex, the guard of every change.
}

// Running reports whether Nomad keeps the job's instances running, as many as its count
// says.
func (j JobState) Running() bool { return j.Exists && !j.Stopped }
