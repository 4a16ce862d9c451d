package control

import (
	"fmt"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// EventHindered is the type of what keeps a revision's instances from running, as
// Nomad says it.
const EventHindered = "Hindered"

const (
	// hinderedKept bounds the reasons of a revision that are known as told: some apps
	// fail in turns.
	hinderedKept = 8
	// hinderedAgain is after how long one is told again.
	hinderedAgain = 10 * time.Minute
)

// toldReason is a reason that an event has told.
type toldReason struct {
	id string
	at time.Time
}

// noteHindrances makes an event of each new reason for which Nomad can't run a
// revision: callers from outside get only its ID.
func (c *Controller) noteHindrances(s *service, o scheduler.Observed) {
	known := map[string][]toldReason{}
	for _, r := range s.Revisions {
		told := s.hindered[r.ID]
		why := o.Instances[r.ID].Diagnosis
		id := wadi.ReasonID(r.ID, why)
		if why != "" && !slices.ContainsFunc(told, func(t toldReason) bool { return t.id == id && o.Now.Sub(t.at) < hinderedAgain }) {
			c.Events.Add(s.Service.Name, r.ID, EventHindered, withID(r.ID, why))
			told = append(told, toldReason{id, o.Now})
			told = told[max(0, len(told)-hinderedKept):]
		}
		if len(told) > 0 {
			known[r.ID] = told
		}
	}
	s.hindered = known
}

// withID is a reason as an event has it: with the ID that callers got in its place.
func withID(revision, reason string) string {
	return fmt.Sprintf("%s (%s)", reason, wadi.ReasonID(revision, reason))
}
