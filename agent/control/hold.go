package control

import (
	"context"
	"fmt"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// noteHold learns of a new hold, which is what is meant now: a count that was set
// by hand before it does not stand any more.
func (a *Autoscaler) noteHold(r *record, s *subject, now time.Time) {
	h := s.hold(now)
	if h.Until.Equal(r.held) {
		return
	}
	known := !r.held.IsZero()
	r.held = h.Until
	switch {
	case h.Active(now):
		r.hold, r.toAsk = time.Time{}, 0
		a.Events.Add(s.service, s.id, "Held", fmt.Sprintf("at %d until %s%s", h.Count, h.Until.UTC().Format(time.RFC3339), by(h)))
	case known && h.Until.IsZero():
		a.Events.Add(s.service, s.id, "Released", "no count is held any more")
	}
}

func by(h wadi.Hold) string {
	if h.Who == "" {
		return ""
	}
	return " by " + h.Who
}

// changed reports whether somebody else has set the count since it was seen last.
func (a *Autoscaler) changed(r *record, s *subject, job scheduler.JobState) bool {
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
	changed := a.changed(r, s, job)
	r.count, r.index = job.Count, job.Index
	if changed {
		r.toAsk = askTries
		a.askWhoScaled(ctx, r, s, job)
	}
}

// askTries bounds how often Nomad is asked who set a count: it writes its scaling
// history after the count, and may not answer at all.
const askTries = 5

// askWhoScaled learns who set the present count, also if that was in an earlier
// leader's term, unless it is known. Until then it is not lowered.
func (a *Autoscaler) askWhoScaled(ctx context.Context, r *record, s *subject, job scheduler.JobState) {
	hold := s.scale.ManualHold.D()
	if hold == 0 {
		r.toAsk = 0
	}
	if r.toAsk == 0 {
		return
	}
	r.toAsk--
	ctx, cancel := context.WithTimeout(ctx, actionTimeout)
	defer cancel()
	at, byHand, err := a.Nomad.ScaledByHand(ctx, s.namespace, s.id, job.Count)
	if err != nil {
		return // Asked again.
	}
	r.toAsk = 0
	if !byHand || time.Since(at) >= hold {
		return // Not a person's, or not any more: decided as usual.
	}
	r.hold = at.Add(hold)
	a.Log.Info("count was set by hand", "revision", s.id, "count", job.Count, "stands_until", r.hold)
	a.Events.Add(s.service, s.id, "Held", fmt.Sprintf("somebody set %d in Nomad: it stands for %s (scale.manual_hold)", job.Count, hold))
}
