package scheduler

import (
	"time"

	"github.com/wadi-run/wadi"
)

// hinderedAfter is how long nothing of a revision may be ready, for a reason that
// Nomad tells, before its start counts as failed: an app that is restarted at once
// is no such.
const hinderedAfter = 3 * time.Second

// planStarts remembers which revisions that were ready once can't be started now,
// and until when: at zero nothing is seen of them, but what the last start showed
// stands until one succeeds.
func planStarts(d Desired, o Observed, state map[string]wadi.RevisionState) []Action {
	var acts []Action
	for _, r := range d.Revisions {
		s, in := state[r.ID], o.Instances[r.ID]
		if s.Phase != wadi.Ready {
			continue
		}
		switch {
		case in.Ready > 0 && s.Hindered != "":
			s.Hindered = ""
			acts = append(acts, Action{Kind: NoteStart, Revision: r.ID})
		case Hinders(s, in) && o.Now.Sub(in.Since) >= hinderedAfter:
			s.Hindered = in.Diagnosis
			acts = append(acts, Action{Kind: NoteStart, Revision: r.ID, Reason: in.Diagnosis})
		}
		state[r.ID] = s
	}
	return acts
}

// Hinders reports whether a start is failing that is not known to.
func Hinders(s wadi.RevisionState, in Instances) bool {
	return s.Phase == wadi.Ready && s.Hindered == "" && in.Ready == 0 && !in.Unknown && in.Diagnosis != ""
}
