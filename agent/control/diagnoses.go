package control

import (
	"fmt"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// EventBlocked is the type of what keeps a revision's instances from running, as
// Nomad says it.
const EventBlocked = "Blocked"

const (
	// blockedKept bounds the reasons of a revision that are known as told: some apps
	// fail in turns.
	blockedKept = 8
	// blockedAgain is after how long one is told again.
	blockedAgain = 10 * time.Minute
)

// pastReason is a reason that an event has told.
type pastReason struct {
	id string
	at time.Time
}

// noteDiagnoses makes an event of each new reason for which Nomad can't run a
// revision: callers from outside get only its ID.
func (c *Controller) noteDiagnoses(s *service, o scheduler.Observed) {
	known := map[string][]pastReason{}
	for _, r := range s.Revisions {
		told := s.diagnoses[r.ID]
		why := o.Instances[r.ID].Diagnosis
		id := wadi.ReasonID(r.ID, why)
		if why != "" && !slices.ContainsFunc(told, func(t pastReason) bool { return t.id == id && o.Now.Sub(t.at) < blockedAgain }) {
			c.Events.Add(s.Service.Name, r.ID, EventBlocked, withID(r.ID, why))
			told = append(told, pastReason{id, o.Now})
			told = told[max(0, len(told)-blockedKept):]
		}
		if len(told) > 0 {
			known[r.ID] = told
		}
	}
	s.diagnoses = known
}

// withID is a reason as an event has it: with the ID that callers got in its place.
func withID(revision, reason string) string {
	return fmt.Sprintf("%s (%s)", reason, wadi.ReasonID(revision, reason))
}
