package control

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// deletedRouteTimeout is for how long the jobs of a deleted service wait for the network
// layers to route callers away from it.
const deletedRouteTimeout = 20 * time.Second

// atRest reports whether nothing of the service waits for a time that is shorter than
// networkRecheck.
func (s *service) atRest(o scheduler.Observed) bool {
	for id, r := range s.State.Revisions {
		if r.Phase == wadi.Pending || r.Phase == "" || scheduler.StartFailing(r, o.Instances[id]) {
			return false
		}
	}
	return !s.Deleting && s.programmed && !s.State.Rollout.Underway() && len(s.warming) == 0
}

// InstanceReports is what a revision's instances say of themselves; empty: nothing.
type InstanceReports interface {
	// Unready says why the instances are not ready.
	Unready(revision string) string
	// Draining says what instances that stop wait for.
	Draining(revision string) string
}

// observe reads what a plan and a status are made of.
func (c *Controller) observe(s *service) scheduler.Observed {
	o := scheduler.Observed{
		Now:  time.Now(),
		Jobs: map[string]scheduler.JobState{}, Adopted: map[string]uint64{},
		Instances: map[string]scheduler.Instances{}, Wanted: map[string]int{},
		Checks: map[string]scheduler.Check{}, Prefetch: map[string]scheduler.Prefetch{},
		Loaded: map[string]int{}, Ceiling: c.Settings.Now().Ceiling, Moved: s.moved,
		Route: s.Route, Leftovers: s.leftovers,
		Began:        s.pendingSince(),
		Programmed:   s.programmed,
		ProgramTried: time.Since(s.applied) < s.reapplyAfter(),
		GivenUp:      s.foreign || !s.deletedRouteSince.IsZero() && time.Since(s.deletedRouteSince) > deletedRouteTimeout,
	}
	c.observeOutcomes(s, &o)
	for _, r := range s.Revisions {
		remembered, _ := c.Memory.Of(r.ID)
		o.Wanted[r.ID] = remembered.Desired
		if n, known := c.Memory.Loaded(r.ID); known {
			o.Loaded[r.ID] = n
		}
		job := c.Cluster.Job(s.Service.Namespace, r.ID)
		adopted := c.Owned.Index(r.ID)
		if job.Index > adopted && job.Index == s.jobIndex(r.ID) { // Equal, not later: Nomad may have been restored.
			adopted = job.Index
			c.Owned.Adopt(r.ID, adopted)
		}
		o.Jobs[r.ID], o.Adopted[r.ID] = job, adopted
		if check, asked := c.checks.of(r.ID); asked {
			o.Checks[r.ID] = check
		}
		o.Instances[r.ID] = c.observeInstances(s, r.ID)
		if c.Prefetches == nil {
			continue
		}
		if p, known := c.Prefetches.Prefetch(r.ID); known {
			o.Prefetch[r.ID] = p
		}
	}
	return o
}

func (c *Controller) observeInstances(s *service, revision string) (in scheduler.Instances) {
	ready, known := c.Meter.ReadyCount(revision)
	in.Ready, in.Unknown = ready, !known
	eps, _ := c.Cluster.Endpoints(s.Service.Namespace, revision)
	for _, ep := range eps {
		if ep.PullFailure != "" {
			in.PullFailure = ep.PullFailure
		}
		switch {
		case !ep.Stopping:
			in.Alive++
			if ep.Pull.Ongoing {
				in.Pulling++
			}
		case !ep.Ended:
			in.Stopping++
		}
	}
	d := c.Cluster.Diagnosis(s.Service.Namespace, revision)
	in.Diagnosis, in.Since = d.Reason, d.Since
	if p := scheduler.PullPauseAfter(eps); p.Active(time.Now()) {
		in.PullPause = p
	}
	if in.Diagnosis == "" && in.Ready == 0 && in.PullPause.Kind != "" && scheduler.WithTasks(eps) == 0 { // It is at zero because of that.
		in.Diagnosis, in.Since = in.PullPause.Reason, in.PullPause.Since
	}
	if reports := c.Observers.Instances; reports != nil {
		in.UnreadyReason = reports.Unready(revision)
		if in.Stopping > 0 {
			in.DrainReason = reports.Draining(revision)
		}
	}
	in.GivenUp = givenUp(eps, s.State.Revisions[revision].Since)
	return in
}

// givenUp are the problems of the last instances in a row that Nomad gave up, among those
// placed since a time. An instance that ended otherwise ends the row.
func givenUp(eps []wadi.Endpoint, since time.Time) []string {
	var out []string
	for _, ep := range eps {
		switch {
		case !ep.Ended || ep.Created < since.UnixNano():
		case ep.Hopeless:
			out = append(out, strings.ReplaceAll(ep.Problem, ep.Instance, "…"))
		default:
			out = nil
		}
	}
	return out
}

// finishPass notes how the pass of one service went, reports a failure once, and
// stores the status if it changed.
func (c *Controller) finishPass(ctx context.Context, s *service, err error) {
	name := s.Service.Name
	if c.services[name] != s {
		return // Forgotten in this pass.
	}
	if err != nil {
		s.resting = false
		s.backoff = nextPause(s.backoff)
		s.retry = time.Now().Add(s.backoff)
		if errors.Is(err, wadi.ErrConflict) {
			c.inbox.submitted([]string{name})
		}
		if s.lastError != err.Error() {
			c.report(ctx, name, err)
		}
		s.lastError = err.Error()
	} else {
		s.backoff, s.lastError = 0, ""
	}
	c.refreshCallers(s)
	c.refreshUsage(s)
	c.refreshDomains(s)
	c.refreshExposure(s)
	c.refreshDrainLimits(s)
	c.refreshExits(s, time.Now())
	s.forgetGone()
	o := c.observe(s)
	c.noteDiagnoses(s, o)
	st := statusOf(s, o, c.URL, s.events(c.Events))
	s.settleReason(st.Rollout, time.Now())
	if equalStatus(st, s.Status) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, actionTimeout)
	defer cancel()
	if err := c.State.PutStatus(ctx, st); err != nil {
		s.resting = false
		c.report(ctx, name, err)
		return
	}
	s.Status, s.published = st, nil
}

func (c *Controller) report(ctx context.Context, name string, err error) {
	if ctx.Err() == nil {
		c.Metrics.passErrors.Inc()
		c.Log.Error("reconciling failed", "service", name, "error", err)
	}
}
