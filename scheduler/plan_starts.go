package scheduler

import (
	"time"

	"github.com/wadi-run/wadi"
)

// startFailedAfter is how long no instance may be ready, for a reason that Nomad reports,
// before the revision's start counts as failed. An app that Nomad restarts at once is
// ready again before that.
const startFailedAfter = 3 * time.Second

// planStarts records which revisions that were ready once fail to start now, and clears
// the record when a start succeeds. Nothing can be observed of a revision at zero, so the
// result of its last start stands until then.
func planStarts(d Desired, o Observed, state map[string]wadi.RevisionState) []Action {
	var acts []Action
	for _, r := range d.Revisions {
		s, in := state[r.ID], o.Instances[r.ID]
		if s.Phase != wadi.Ready {
			continue
		}
		switch {
		case in.Ready > 0 && s.StartFailure != "":
			s.StartFailure = ""
			acts = append(acts, Action{Kind: NoteStart, Revision: r.ID})
		case StartFailing(s, in) && o.Now.Sub(in.Since) >= startFailedAfter:
			s.StartFailure = in.Diagnosis
			acts = append(acts, Action{Kind: NoteStart, Revision: r.ID, Reason: in.Diagnosis})
		}
		state[r.ID] = s
	}
	return acts
}

// StartFailing reports whether a start is failing and not yet recorded as failed.
func StartFailing(s wadi.RevisionState, in Instances) bool {
	return s.Phase == wadi.Ready && s.StartFailure == "" && in.Ready == 0 && !in.Unknown && in.Diagnosis != ""
}
