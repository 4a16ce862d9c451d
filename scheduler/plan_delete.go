package scheduler

// planDelete drains and removes a service. First the route loses its targets, so no
// request wakes an instance. Then the instances stop. When all have ended, the jobs, the
// entries in Consul and the stored service are removed.
func planDelete(d Desired, o Observed) []Action {
	if o.Route.Service != "" && !o.Route.Deleted() {
		r := o.Route
		r.Targets = nil // Its revisions stay: requests in flight use their settings.
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
		return append(jobs, program...) // Programming may fail for ever, so it comes last.
	}
	return program
}

// planEnds stops and purges the jobs of a deleted service. left: a job or an instance
// still exists.
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
