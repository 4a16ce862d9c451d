package control

import (
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// wait is how long a pending revision has been waited for. A new term begins anew:
// it does not know what happened before it.
type wait struct {
	phase time.Time // Since when it is pending, by what is stored.
	began time.Time // When the wait would have begun if it had been seen all the time.
	last  time.Time // When it was seen last.
}

// unseen is how much time between two passes means that something kept this leader
// from seeing: Nomad's stream was away, or the store did not answer.
const unseen = 2 * passInterval

// noteWaits notes that pending revisions are seen at present. Time in which they were
// not, or in which their instances were not asked yet, is none that they had.
func (s *service) noteWaits(o scheduler.Observed) {
	next := map[string]wait{}
	for id, st := range s.State.Revisions {
		if st.Phase != wadi.Pending {
			continue
		}
		w, known := s.waits[id]
		if !known || !w.phase.Equal(st.Since) {
			w = wait{phase: st.Since, began: o.Now, last: o.Now}
		}
		if gap := o.Now.Sub(w.last); gap > unseen || o.Instances[id].Unknown {
			w.began = w.began.Add(gap)
		}
		w.last = o.Now
		next[id] = w
	}
	s.waits = next
}

func (s *service) began() map[string]time.Time {
	out := make(map[string]time.Time, len(s.waits))
	for id, w := range s.waits {
		out[id] = w.began
	}
	return out
}
