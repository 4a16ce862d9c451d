package scheduler

import (
	"fmt"
	"time"
)

// WakeState is what a wake is decided from.
type WakeState struct {
	Job        JobState
	Alive      int           // Allocations placed and not stopped.
	Blocked    bool          // Nomad has a blocked evaluation: it can't place the instances, and retries by itself.
	Waited     time.Duration // Since the count was first seen above zero with no instance alive.
	Activation int           // Instances when leaving zero.
	Max        int           // 0: no bound.
}

// WakeKind says what a wake does.
type WakeKind int

// The kinds of wakes.
const (
	WakeNone     WakeKind = iota // Instances exist or are being placed: wait for them.
	WakeScale                    // Scale the job to Count, guarded by its index.
	WakeRegister                 // Register the stored job with Count, guarded by its index.
	WakeEvaluate                 // Make Nomad evaluate the job again, despite reschedule delays.
)

// WakeAction is what [Wake] decided.
type WakeAction struct {
	Kind   WakeKind
	Count  int
	Index  uint64
	Reason string // For Nomad's scaling history.
}

// evaluateAfter is how long a count above zero may stay without an allocation before Nomad
// is asked to evaluate again. Placing takes 15 ms on an idle server and some seconds on a
// busy one.
const evaluateAfter = 3 * time.Second

// Wake decides how a revision leaves zero when a request waits for it. Every agent may
// wake, without a leader: if two wake at once, the job's modify index lets one win, and
// the other reads a count above zero.
func Wake(s WakeState) WakeAction {
	count := max(1, s.Activation)
	if s.Max > 0 {
		count = min(count, s.Max)
	}
	switch {
	case !s.Job.Running():
		what := "the job was gone"
		if s.Job.Exists {
			what = "the job was stopped"
		}
		return WakeAction{
			Kind: WakeRegister, Count: count, Index: s.Job.Index,
			Reason: fmt.Sprintf("a request waits and %s: put back with %d", what, count),
		}
	case s.Job.Count == 0:
		return WakeAction{
			Kind: WakeScale, Count: count, Index: s.Job.Index,
			Reason: fmt.Sprintf("woken by a request: 0 to %d", count),
		}
	case s.Alive == 0 && !s.Blocked && s.Waited >= evaluateAfter:
		return WakeAction{Kind: WakeEvaluate, Reason: "a request waits and no instance is placed"}
	}
	return WakeAction{Kind: WakeNone}
}
