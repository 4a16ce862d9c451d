package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// JobStopper is how the sweeper reads and stops jobs.
type JobStopper interface {
	JobEmptier
	// Stop ends a job's instances and keeps the job. Nomad does not guard it: callers set the
	// count to zero just before.
	Stop(ctx context.Context, namespace, id string) error
}

// Sweeper stops jobs that Wadi has registered and whose service or revision is not stored, such
// as a job that was woken in the moment in which its service was forgotten, or one of a
// submission that was refused, by an agent that did not hear that Nomad had registered it. Only the leader
// runs one. The jobs stay in Nomad's list, where they can be inspected.
type Sweeper struct {
	// List returns the jobs that this installation has registered and that are not stopped.
	List     func(ctx context.Context) ([]scheduler.OwnJob, error)
	Services func() *View // The controller's; nil: there is none yet.
	Store    interface {
		Load(ctx context.Context, service string) (wadi.Stored, error)
	}
	Jobs   JobStopper
	Events *Events
	Log    hclog.Logger

	// Every is how often a pass is made (0: a minute), Grace how long a job must have been
	// without a service (0: two minutes). A submission takes 45 s at most.
	Every, Grace time.Duration

	orphans       []scheduler.Orphan
	warnedTooMany bool // That was logged.
}

// sweepTimeout bounds one pass.
const sweepTimeout = 30 * time.Second

// Run makes passes until ctx ends.
func (s *Sweeper) Run(ctx context.Context) error {
	if s.Every == 0 {
		s.Every = time.Minute
	}
	tick := time.NewTicker(s.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		s.Pass(ctx)
	}
}

// Pass looks once for jobs without a service, and stops those that it has seen for long enough.
func (s *Sweeper) Pass(ctx context.Context) {
	if err := s.pass(ctx); err != nil && ctx.Err() == nil {
		s.orphans = nil // Jobs must be seen without a service in every pass.
		s.Log.Warn("jobs without a service can't be looked for", "error", err)
	}
}

func (s *Sweeper) pass(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	v := s.Services()
	if v == nil {
		return nil
	}
	jobs, err := s.List(ctx)
	if err != nil {
		return err
	}
	var lost []scheduler.OwnJob
	for _, j := range jobs {
		if hasJob(v.Services[j.Service], j) {
			continue
		}
		gone, err := s.gone(ctx, j)
		if err != nil {
			return err
		}
		if gone {
			lost = append(lost, j)
		}
	}
	now := time.Now()
	s.orphans = scheduler.Orphans(s.orphans, lost, now)
	stop, tooMany := scheduler.Sweep(s.orphans, now, cmp.Or(s.Grace, 2*time.Minute))
	if tooMany && !s.warnedTooMany {
		s.Log.Error("many jobs have no stored service: Consul may have been restored from a backup; none is stopped. Submit the services again, or stop the jobs in Nomad",
			"jobs", len(lost), "first", lost[0].ID, "namespace", lost[0].Namespace)
	}
	s.warnedTooMany = tooMany
	for _, o := range stop {
		if err := s.stop(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// hasJob reports whether a job is that of a stored revision. One of a service of that name in
// another namespace is another's, and revisions that can't be understood are there.
func hasJob(st *wadi.Stored, j scheduler.OwnJob) bool {
	if st == nil || st.Service.Namespace != j.Namespace {
		return false
	}
	return len(st.Unreadable) > 0 || slices.ContainsFunc(st.Revisions, func(r wadi.Revision) bool { return r.ID == j.ID })
}

// gone asks the store itself whether a job's service, or its revision, is not stored. A service
// that can't be understood is there.
func (s *Sweeper) gone(ctx context.Context, j scheduler.OwnJob) (bool, error) {
	st, err := s.Store.Load(ctx, j.Service)
	if errors.Is(err, wadi.ErrNotFound) {
		return true, nil
	}
	if errors.Is(err, wadi.ErrUnreadable) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for service %s: %w", j.Service, err)
	}
	return !hasJob(&st, j), nil
}

// stop stops an orphan, if it still is what was seen.
func (s *Sweeper) stop(ctx context.Context, o scheduler.Orphan) error {
	job, same, err := emptied(ctx, s.Jobs, o.Namespace, o.ID, o.Index, "its service is not stored")
	if err != nil || !same || !job.Running() {
		return err
	}
	if err := s.Jobs.Stop(ctx, o.Namespace, o.ID); err != nil {
		return err
	}
	s.Log.Warn("a job without a service was stopped", "namespace", o.Namespace, "job", o.ID, "count", job.Count)
	s.Events.Add(o.Service, o.ID, EventSwept, "its job was left in Nomad, in namespace "+o.Namespace+", without a service that is stored: it is stopped")
	return nil
}
