package control

import (
	"context"
	"fmt"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// noteOverride learns of a new override, which is what is meant now: a count that was set
// by hand before it does not stand any more.
func (a *Autoscaler) noteOverride(r *record, s *subject, now time.Time) {
	h := s.override(now)
	if h.Until.Equal(r.overrideUntil) {
		return
	}
	known := !r.overrideUntil.IsZero()
	r.overrideUntil = h.Until
	switch {
	case h.Active(now):
		r.byHandUntil, r.byHandChecks = time.Time{}, 0
		a.Events.Add(s.service, s.id, "Overridden", fmt.Sprintf("to %d until %s%s", h.Count, h.Until.UTC().Format(time.RFC3339), by(h)))
	case known && h.Until.IsZero():
		a.Events.Add(s.service, s.id, "OverrideEnded", "the count follows the load again")
	}
}

func by(h wadi.Override) string {
	if h.By == "" {
		return ""
	}
	return " by " + h.By
}

// countChanged reports whether somebody else has set the count since it was seen last.
func (a *Autoscaler) countChanged(r *record, s *subject, job scheduler.JobState) bool {
	return r.count >= 0 && job.Count != r.count && job.Index > max(r.index, a.Owned.Made(s.id))
}

// noteCount learns that somebody changed the count: when it grew, as what was
// measured before can't hold the reason, and whether a person did it, whose count
// stands for a while.
func (a *Autoscaler) noteCount(ctx context.Context, r *record, s *subject, job scheduler.JobState) {
	if job.Count > r.count && job.Count > 0 {
		r.raised = time.Now()
	}
	if r.count <= 0 || job.Count == 0 {
		r.start = scheduler.Start{} // What was ready before zero says nothing of what starts after it.
	}
	changed := a.countChanged(r, s, job)
	r.count, r.index = job.Count, job.Index
	if changed {
		r.byHandChecks = byHandTries
		a.checkScaledByHand(ctx, r, s, job)
	}
}

// byHandTries bounds how often Nomad is asked who set a count: it writes its scaling
// history after the count, and may not answer at all.
const byHandTries = 5

// checkScaledByHand learns who set the present count, also if that was in an earlier
// leader's term, unless it is known. Until then it is not lowered.
func (a *Autoscaler) checkScaledByHand(ctx context.Context, r *record, s *subject, job scheduler.JobState) {
	hold := s.scale.ManualHold.D()
	if hold == 0 {
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
	if !byHand || time.Since(at) >= hold {
		return // Not a person's, or not any more: decided as usual.
	}
	r.byHandUntil = at.Add(hold)
	a.Log.Info("count was set by hand", "revision", s.id, "count", job.Count, "stands_until", r.byHandUntil)
	a.Events.Add(s.service, s.id, "Overridden", fmt.Sprintf("somebody set %d in Nomad: it stands for %s (scale.manual_hold)", job.Count, hold))
}
