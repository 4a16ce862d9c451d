package scheduler

import "github.com/wadi-run/wadi"

// planJob keeps a routed revision's job in Nomad as it was stored. It purges the job of an
// unrouted revision once its last instance has ended.
func planJob(d Desired, o Observed, r wadi.Revision, state map[string]wadi.RevisionState, route wadi.Route, want []wadi.RouteTarget, carried bool) []Action {
	job, in := o.Jobs[r.ID], o.Instances[r.ID]
	phase := state[r.ID].Phase
	wanted := phase != wadi.Failed && among(want, r.ID)
	if !wanted && !Routed(&d.Service, &route, r.ID, d.Latest, phase) {
		if phase == wadi.Ready && !carried {
			return nil
		}
		return planRetire(job, in, r, phase)
	}
	var acts []Action
	count := max(o.Wanted[r.ID], d.Service.Scale.Min)
	if AwaitsImages(&d.Service, d.Latest, r.ID, state[r.ID]) {
		count = o.Wanted[r.ID]
	}
	count = atMost(count, &d, &o) // What is wanted may be what somebody set in Nomad.
	switch {
	case !job.Exists:
		why := "its job was gone from Nomad"
		if phase == wadi.Pending && state[r.ID].Reason == TriedAgain {
			why = TriedAgain
		}
		acts = append(acts, Action{Kind: PutBack, Revision: r.ID, Count: count, Reason: why})
	case job.Stopped:
		acts = append(acts, Action{Kind: PutBack, Revision: r.ID, Count: count, Index: job.Index, Reason: "its job was stopped in Nomad"})
	case job.Index > o.Adopted[r.ID]: // A lower index: the event stream lags behind Wadi's own change.
		check := o.Checks[r.ID]
		if check.Index != job.Index {
			acts = append(acts, Action{Kind: CheckDrift, Revision: r.ID, Count: job.Count, Index: job.Index})
		} else if check.Drifted {
			acts = append(acts, Action{Kind: UndoDrift, Revision: r.ID, Count: job.Count, Index: job.Index})
		}
	}
	if phase == wadi.Retired { // The job comes back before the route may name the revision.
		next := wadi.Pending
		if state[r.ID].WasReady {
			next = wadi.Ready
		}
		acts = append(acts, Action{Kind: SetPhase, Revision: r.ID, Phase: next, Reason: "routed again"})
	}
	return acts
}

// planRetire purges the job of an unrouted revision without instances, and retires the
// revision.
func planRetire(job JobState, in Instances, r wadi.Revision, phase wadi.Phase) []Action {
	var acts []Action
	busy := in.Alive > 0 || in.Stopping > 0 || job.Running() && job.Count > 0
	if job.Exists && !busy {
		acts = append(acts, Action{Kind: PurgeJob, Revision: r.ID, Index: job.Index, Reason: "no traffic goes to it"})
	}
	if !busy && (phase == wadi.Ready || phase == wadi.Pending) {
		acts = append(acts, Action{Kind: SetPhase, Revision: r.ID, Phase: wadi.Retired, Reason: "no traffic goes to it"})
	}
	return acts
}
