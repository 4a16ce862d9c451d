package control

import (
	"context"
	"fmt"
	"time"

	"github.com/wadi-run/wadi/scheduler"
)

// countChanged reports whether the count was set by another program or agent since it was
// seen last.
func (a *Autoscaler) countChanged(r *record, s *subject, job scheduler.JobState) bool {
	return r.count >= 0 && job.Count != r.count && job.Index > max(r.index, a.Owned.Made(s.id))
}

// noteCount takes over a changed count: when it was raised, as nothing that was measured
// before explains that, and whether it was set by hand, as such a count stands for a while.
func (a *Autoscaler) noteCount(ctx context.Context, r *record, s *subject, job scheduler.JobState) {
	if job.Count > r.count && job.Count > 0 {
		r.raised = time.Now()
	}
	if r.count <= 0 || job.Count == 0 {
		r.start = scheduler.Start{} // Readiness before zero says nothing about the starts after it.
	}
	changed := a.countChanged(r, s, job)
	r.count, r.index = job.Count, job.Index
	if changed {
		r.byHandChecks = byHandTries
		a.checkScaledByHand(ctx, r, s, job)
	}
}

// byHandTries bounds how often Nomad is asked whether a count was set by hand: it writes
// its scaling history after the count, and may not answer at all.
const byHandTries = 5

// checkScaledByHand finds out whether the present count was set by hand, also in an
// earlier leader's term, unless that is known. Until then the count is not lowered, and zero is
// not raised.
func (a *Autoscaler) checkScaledByHand(ctx context.Context, r *record, s *subject, job scheduler.JobState) {
	stands := s.scale.ManualHold.D()
	if stands == 0 {
		r.byHandChecks = 0
	}
	if r.byHandChecks == 0 {
		return
	}
	r.byHandChecks--
	ctx, cancel := context.WithTimeout(ctx, actionTimeout)
	defer cancel()
	at, byHand, err := a.Counts.ScaledByHand(ctx, s.namespace, s.id, job.Count)
	if err != nil {
		return // Asked again.
	}
	r.byHandChecks = 0
	if !byHand || time.Since(at) >= stands {
		return // Not by hand, or too long ago: decided as usual.
	}
	r.byHandUntil = at.Add(stands)
	a.Log.Info("count was set by hand", "revision", s.id, "count", job.Count, "stands_until", r.byHandUntil)
	a.Events.Add(s.service, s.id, EventOverridden, fmt.Sprintf("the count was set to %d in Nomad: it stands for %s (scale.manual_hold)", job.Count, stands))
}
