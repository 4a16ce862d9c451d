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
		c.notePullPause(s, r.ID, o)
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

// notePullPause has the autoscaler evaluate at once when a pause begins: Nomad tries again
// within a second.
func (c *Controller) notePullPause(s *service, revision string, o scheduler.Observed) {
	p := o.Instances[revision].PullPause
	if n := s.notes(revision); !p.Until.Equal(n.pausedUntil) {
		n.pausedUntil = p.Until
		c.acted = c.acted || p.Active(o.Now)
	}
}

// withID is a reason with the ID that callers got in its place.
func withID(revision, reason string) string {
	return fmt.Sprintf("%s (%s)", reason, wadi.ReasonID(revision, reason))
}
