package scheduler

import (
	"time"

	"github.com/wadi-run/wadi"
)

// Desired is what was submitted of one service, and what the leader remembers of it.
type Desired struct {
	Service   wadi.Service
	Latest    string // The newest revision.
	Attempt   uint64 // Revisions that failed at an earlier one are tried again.
	Deleting  bool
	Revisions []wadi.Revision // Every one that is stored.
	State     wadi.State
	Retention Retention // The agent's.
}

// Retention bounds, for all services, how long revisions without traffic are kept.
// Those beyond a service's own retention.keep go when both ages have passed.
type Retention struct {
	KeepFor       time.Duration // Since it was submitted.
	KeepActiveFor time.Duration // Since it last had traffic.
	Max           int           // Of one service, whatever their age; 0 is no bound.
}

// Observed is what Nomad, Consul and the instances say of one service.
type Observed struct {
	Now       time.Time
	Jobs      map[string]JobState  // By revision; a missing one has no job.
	Adopted   map[string]uint64    // The jobs' modify indexes that are known to be ours.
	Checks    map[string]Check     // The latest of each revision's job; a missing one was none.
	Instances map[string]Instances // By revision.
	Wanted    map[string]int       // What the autoscaler last wanted, by revision.
	Began     map[string]time.Time // When a pending revision's time began, without the time in which nobody saw it.

	Route        wadi.Route // As stored; zero: none.
	Programmed   bool       // The network layers carry the stored route, as was read back.
	ProgramTried bool       // They were told to lately: not again in this pass.
	GivenUp      bool       // They can't be made to, or have not been for too long: what waits for them goes on.
	Leftovers    bool       // Network layers still hold something of the service.
}

// Check is a question to Nomad's plan whether a job is still as it was stored.
type Check struct {
	Index   uint64 // Of the job that it is about.
	Drifted bool   // The answer, once there is one.
}

// Instances counts a revision's allocations.
type Instances struct {
	Alive         int    // Placed and not told to stop.
	Stopping      int    // Told to stop and not yet gone.
	Ready         int    // Answering as ready.
	Unknown       bool   // How many are ready is not known: not all were asked yet.
	Diagnosis     string // What Nomad says hinders it; empty: nothing.
	UnreadyReason string // Why those that run are not ready, as they say; empty: nothing is known.

	DrainReason string // What those that end wait for, as they say; empty: nothing is known.

	Since time.Time // Since when it has been in trouble.

	// GivenUp are the problems of the latest instances of this attempt, oldest first,
	// if each ended by an error that Nomad calls unrecoverable.
	GivenUp []string
}

// JobState is what Nomad says of a revision's job.
type JobState struct {
	Exists  bool
	Stopped bool   // By somebody's `nomad job stop`; its count is meaningless then.
	Count   int    // Of the group instance.
	Index   uint64 // JobModifyIndex, the guard of every change.
}

// Running reports whether Nomad keeps instances of the job up, if its count asks for any.
func (j JobState) Running() bool { return j.Exists && !j.Stopped }
