package scheduler

import (
	"fmt"

	"github.com/wadi-run/wadi"
)

// Reasons why a service does not serve.
const (
	NotServing   = "Blocked"  // A revision with traffic can't start.
	NotServable  = "Failed"   // A revision with traffic has failed, and gets no instances.
	NotYetServed = "Starting" // No revision has traffic yet, or one that has was never ready.
)

// Unavailable says whether a revision with traffic or a tag can't answer its callers: a
// reason of one word, and a message. Both are empty if all can. A revision at zero is fine
// unless its last start failed. A revision whose app runs but does not answer is not
// available, even if Nomad reports no problem.
func Unavailable(route wadi.Route, state map[string]wadi.RevisionState, of map[string]Instances, jobs map[string]JobState) (reason, message string) {
	if len(route.Targets) == 0 {
		return NotYetServed, "no revision has its traffic yet"
	}
	starting, lacks := "", ""
	for _, t := range route.Targets {
		id := t.Revision
		s, in := state[id], of[id]
		switch {
		case s.Phase == wadi.Failed:
			return NotServable, fmt.Sprintf("callers of %s get 503, it has failed: %s", id, s.Reason)
		case in.Ready > 0:
		case s.StartFailure != "" && jobs[id].Count == 0 && in.PullPause.Kind != "":
			return NotServing, fmt.Sprintf("%s is at zero, and its last start failed: %s; callers get 503 until it is tried again, two minutes after the last try at most", id, s.StartFailure)
		case s.StartFailure != "" && jobs[id].Count == 0:
			return NotServing, fmt.Sprintf("%s is at zero, and its last start failed: %s; the next request tries again", id, s.StartFailure)
		case s.StartFailure != "" && in.Diagnosis == "":
			return NotServing, fmt.Sprintf("no instance of %s is ready since its last start failed: %s", id, s.StartFailure)
		case s.StartFailure != "", s.Phase == wadi.Pending && in.Diagnosis != "":
			return NotServing, fmt.Sprintf("callers of %s wait or get 503, none of its instances is ready: %s", id, in.Diagnosis)
		case in.Alive > 0 && in.UnreadyReason != "": // Reported for a while: see package scrape.
			starting, lacks = id, ": "+in.UnreadyReason
		case s.Phase == wadi.Pending || s.Phase == "":
			starting = id
		}
	}
	if starting != "" {
		return NotYetServed, fmt.Sprintf("callers wait until %s is ready%s", starting, lacks)
	}
	return "", ""
}
