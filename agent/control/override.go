package control

import (
	"fmt"
	"time"
)

// noteOverride takes over a new override. It is newer than a count that was set by hand
// in Nomad, and ends it.
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
		a.Events.Add(s.service, s.id, EventOverridden, fmt.Sprintf("to %d until %s%s", h.Count, h.Until.UTC().Format(time.RFC3339), by(h.By)))
	case known && h.Until.IsZero():
		a.Events.Add(s.service, s.id, EventOverrideEnded, "the count follows the load again")
	}
}

// by names the caller that set an override, if known.
func by(name string) string {
	if name == "" {
		return ""
	}
	return " by " + name
}
