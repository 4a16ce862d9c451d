package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// holdOf is the hold of a revision: its own, or that of the service if it is the
// one with most of the traffic. The zero value: none. It may have ended.
func holdOf(s *Stored, revision string) wadi.Hold {
	if len(s.Holds) == 0 {
		return wadi.Hold{}
	}
	if h, ok := s.Holds[revision]; ok && h.Active(time.Now()) {
		return h
	}
	if h, ok := s.Holds[""]; ok && s.Route.Main() == revision {
		return h
	}
	return wadi.Hold{}
}

// noteHold learns of a new hold, which is what is meant now: a count that was set
// by hand before it does not stand any more.
func (a *Autoscaler) noteHold(s *Stored, r *wadi.Revision, m *memory) {
	h := holdOf(s, r.ID)
	if h.Until.Equal(m.held) {
		return
	}
	known := !m.held.IsZero()
	m.held = h.Until
	switch {
	case h.Active(time.Now()):
		m.hold, m.toAsk = time.Time{}, 0
		a.Events.Add(s.Service.Name, r.ID, "Held", fmt.Sprintf("at %d until %s%s", h.Count, h.Until.UTC().Format(time.RFC3339), by(h)))
	case known && h.Until.IsZero():
		a.Events.Add(s.Service.Name, r.ID, "Released", "no count is held any more")
	}
}

func by(h wadi.Hold) string {
	if h.Who == "" {
		return ""
	}
	return " by " + h.Who
}

// noteCount learns that somebody changed the count: when it grew, as what was
// measured before can't hold the reason, and whether a person did it, whose count
// stands for a while.
func (a *Autoscaler) noteCount(ctx context.Context, s *Stored, r *wadi.Revision, job scheduler.JobState, m *memory) {
	if job.Count > m.count && job.Count > 0 {
		m.raised = time.Now()
	}
	changed := m.count >= 0 && job.Count != m.count && job.Index > max(m.index, a.Owned.Made(r.ID))
	m.count, m.index = job.Count, job.Index
	if changed {
		m.toAsk = askTries
		a.askWhoScaled(ctx, s, r, job, m)
	}
}

// askTries bounds how often Nomad is asked who set a count: it writes its scaling
// history after the count, and may not answer at all.
const askTries = 5

// askWhoScaled learns who set the present count, also if that was in an earlier
// leader's term, unless it is known. Until then it is not lowered.
func (a *Autoscaler) askWhoScaled(ctx context.Context, s *Stored, r *wadi.Revision, job scheduler.JobState, m *memory) {
	hold := s.Service.Scale.ManualHold.D()
	if hold == 0 {
		m.toAsk = 0
	}
	if m.toAsk == 0 {
		return
	}
	m.toAsk--
	ctx, cancel := context.WithTimeout(ctx, actionTimeout)
	defer cancel()
	at, byHand, err := a.Nomad.ScaledByHand(ctx, s.Service.Namespace, r.ID, job.Count)
	if err != nil {
		return // Asked again.
	}
	m.toAsk = 0
	if !byHand || time.Since(at) >= hold {
		return // Not a person's, or not any more: decided as usual.
	}
	m.hold = at.Add(hold)
	a.Log.Info("count was set by hand", "revision", r.ID, "count", job.Count, "stands_until", m.hold)
	a.Events.Add(s.Service.Name, r.ID, "Held", fmt.Sprintf("somebody set %d in Nomad: it stands for %s (scale.manual_hold)", job.Count, hold))
}
