package control

import (
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// pendingWait is how long a pending revision has been waited for. A new term begins anew:
// it does not know what happened before it.
type pendingWait struct {
	since time.Time // Since when it is pending, by what is stored.
	began time.Time // When the wait would have begun if it had been seen all the time.
	last  time.Time // When it was seen last.
}

// blindGap is how much time between two passes means that something kept this leader
// from seeing: Nomad's stream was away, or the store did not answer.
const blindGap = 2 * passInterval

// notePending notes that pending revisions are seen at present. Time in which they were
// not, or in which their instances were not asked yet, is none that they had.
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

func (s *service) pendingSince() map[string]time.Time {
	out := make(map[string]time.Time, len(s.pending))
	for id, w := range s.pending {
		out[id] = w.began
	}
	return out
}
