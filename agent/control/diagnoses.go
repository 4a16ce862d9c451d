package control

import (
	"fmt"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

const (
	// blockedKept bounds the reasons of a revision that are remembered: some apps fail
	// for alternating reasons.
	blockedKept = 8
	// blockedAgain is after how long the same reason is an event again.
	blockedAgain = 10 * time.Minute
)

// pastReason is a reason that an event has named.
type pastReason struct {
	id string
	at time.Time
}

// noteDiagnoses makes an event of each new reason for which Nomad can't run a
// revision. Callers from outside get only the reason's ID.
func (c *Controller) noteDiagnoses(s *service, o scheduler.Observed) {
	for _, r := range s.Revisions {
		why := o.Instances[r.ID].Diagnosis
		if why == "" {
			continue
		}
		n, id := s.notes(r.ID), wadi.ReasonID(r.ID, why)
		if slices.ContainsFunc(n.diagnoses, func(p pastReason) bool { return p.id == id && o.Now.Sub(p.at) < blockedAgain }) {
			continue
		}
		c.Events.Add(s.Service.Name, r.ID, EventBlocked, withID(r.ID, why))
		n.diagnoses = append(n.diagnoses, pastReason{id, o.Now})
		n.diagnoses = n.diagnoses[max(0, len(n.diagnoses)-blockedKept):]
	}
}

// withID is a reason with the ID that callers got in its place.
func withID(revision, reason string) string {
	return fmt.Sprintf("%s (%s)", reason, wadi.ReasonID(revision, reason))
}
