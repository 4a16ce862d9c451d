package control

import (
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// pendingWait is how long this term's leader has waited for a pending revision. It does not
// know what happened before its term.
type pendingWait struct {
	since time.Time // Since when it is pending, by what is stored.
	began time.Time // When the wait would have begun without the times in which it was not seen.
	last  time.Time // When it was seen last.
}

// blindGap is the time between two passes from which on the leader was blind in between:
// Nomad's stream was down, or the store did not answer.
const blindGap = 2 * passInterval

// notePending notes that pending revisions are seen now. Time in which they were not seen,
// or in which their instances were not asked yet, does not count as waiting.
func (s *service) notePending(o scheduler.Observed) {
	next := map[string]pendingWait{}
	for id, st := range s.State.Revisions {
		if st.Phase != wadi.Pending {
			continue
		}
		w, known := s.pending[id]
		if !known || !w.since.Equal(st.Since) {
			w = pendingWait{since: st.Since, began: o.Now, last: o.Now}
		}
		if gap := o.Now.Sub(w.last); gap > blindGap || o.Instances[id].Unknown {
			w.began = w.began.Add(gap)
		}
		w.last = o.Now
		next[id] = w
	}
	s.pending = next
}

// pendingSince is when the wait for each pending revision began.
func (s *service) pendingSince() map[string]time.Time {
	out := make(map[string]time.Time, len(s.pending))
	for id, w := range s.pending {
		out[id] = w.began
	}
	return out
}
