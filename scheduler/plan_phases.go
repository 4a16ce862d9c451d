package scheduler

import (
	"cmp"
	"fmt"
	"time"

	"github.com/wadi-run/wadi"
)

// TriedAgain is the reason of a pending revision that had failed before.
const TriedAgain = "it had failed and was submitted again: it is tried again"

// planPhases moves revisions from pending to ready or failed. It returns the states after
// these steps, so the rest of the plan need not wait for another pass.
func planPhases(d Desired, o Observed) ([]Action, map[string]wadi.RevisionState) {
	var acts []Action
	state := map[string]wadi.RevisionState{}
	set := func(id string, p wadi.Phase, reason string) {
		acts = append(acts, Action{Kind: SetPhase, Revision: id, Phase: p, Reason: reason})
		s := state[id]
		s.Phase, s.Reason, s.Since, s.Attempt = p, reason, o.Now, d.Attempt
		if p == wadi.Pending {
			s.Prefetch = ""
		}
		state[id] = s
	}
	for _, r := range d.Revisions {
		s, known := d.State.Revisions[r.ID]
		state[r.ID] = s
		if !known || s.Phase == "" {
			set(r.ID, wadi.Pending, "")
			s = state[r.ID]
		}
		wanted := r.ID == d.Latest || Named(d.Service, r.ID)
		if wanted && s.TriedAgain(d.Attempt) {
			set(r.ID, wadi.Pending, TriedAgain)
			s = state[r.ID]
		}
		in, need := o.Instances[r.ID], d.Service.Scale.Initial
		if wanted && s.Phase == wadi.Failed && in.Ready > 0 && in.Ready >= need {
			set(r.ID, wadi.Ready, "its instances became ready after all")
			continue
		}
		if s.Phase != wadi.Pending {
			continue
		}
		awaits, end := awaitsImages(d, o, r, s)
		if end != "" {
			acts = append(acts, Action{Kind: EndPrefetch, Revision: r.ID, Reason: end})
			s.Prefetch = end
			state[r.ID] = s
		}
		switch {
		case in.Ready >= need && !awaits:
			set(r.ID, wadi.Ready, "")
		case wanted && in.unrecoverable():
			set(r.ID, wadi.Failed, in.givenUpReason())
		case wanted && !in.Unknown && !o.Now.Before(FailsAt(r, s, o)):
			set(r.ID, wadi.Failed, progressReason(r, in, need))
		}
	}
	return acts, state
}

// FailsAt is when a pending revision fails if it is not ready by then. Only time in which
// a leader observed its instances counts: in between they may have been ready.
func FailsAt(r wadi.Revision, s wadi.RevisionState, o Observed) time.Time {
	return pendingSince(r, s, o).Add(r.Spec.Timeout.Progress.D())
}

// pendingSince is when the wait of a pending revision began.
func pendingSince(r wadi.Revision, s wadi.RevisionState, o Observed) time.Time {
	if b := o.Began[r.ID]; b.After(s.Since) {
		return b
	}
	return s.Since
}

func progressReason(r wadi.Revision, in Instances, need int) string {
	s := fmt.Sprintf("%d of %s %s ready within %v (timeout.progress)", in.Ready, wadi.Quantity(need, "instance"), wadi.Plural(need, "was", "were"), r.Spec.Timeout.Progress)
	if why := cmp.Or(in.Diagnosis, in.UnreadyReason); why != "" {
		s += ": " + why
	}
	return s
}
