package scheduler

// planDelete drains and removes: first no new requests, which nobody may wake anything
// for, wherever they come from; then the instances; then, when every one has ended, the
// jobs, the entries in Consul and what is stored.
func planDelete(d Desired, o Observed) []Action {
	if o.Route.Service != "" && !o.Route.Deleted() {
		r := o.Route
		r.Targets = nil // Its revisions stay: what is in flight has their settings.
		return []Action{{Kind: PutRoute, Route: r}}
	}
	jobs, left := planEnds(d, o)
	switch {
	case !left && o.Leftovers:
		return []Action{{Kind: Unprogram}}
	case !left:
		return []Action{{Kind: ForgetService}}
	case o.Route.Service == "" || o.Programmed:
		return jobs
	}
	var program []Action
	if !o.ProgramTried {
		program = []Action{{Kind: Program, Route: o.Route}}
	}
	if o.GivenUp {
		return append(jobs, program...) // Which may fail for ever.
	}
	return program
}

// planEnds ends the jobs of a service that is deleted; left: there is still something
// of one.
func planEnds(d Desired, o Observed) (acts []Action, left bool) {
	for _, r := range d.Revisions {
		job, in := o.Jobs[r.ID], o.Instances[r.ID]
		busy := in.Alive+in.Stopping > 0
		switch {
		case job.Running() && (busy || job.Count > 0):
			acts = append(acts, Action{Kind: StopJob, Revision: r.ID, Index: job.Index, Reason: "the service is deleted"})
		case job.Exists && !busy:
			acts = append(acts, Action{Kind: PurgeJob, Revision: r.ID, Index: job.Index, Reason: "the service is deleted"})
		}
		left = left || job.Exists || busy
	}
	return acts, left
}
