package nomad

import (
	"slices"
	"sync/atomic"
	"time"
)

// publish gives readers what changed since the last time.
func (w *Watcher) publish(s *state) {
	appeared, news := false, false
	for k, job := range s.dirty {
		now, changed := w.publishRevision(s, k)
		appeared, news = appeared || now, news || changed || job
	}
	clear(s.dirty)
	if appeared {
		renew(&w.absent)
	}
	if news {
		w.news()
	}
}

// news tells those who wait for any change.
func (w *Watcher) news() { renew(&w.changed) }

// renew closes the channel that readers wait for, and puts a new one in its place.
func renew(ch *atomic.Pointer[chan struct{}]) {
	fresh := make(chan struct{})
	close(*ch.Swap(&fresh))
}

// publishRevision tells whether the revision was not known to readers before,
// and whether what they get of its instances changed.
func (w *Watcher) publishRevision(s *state, k key) (appeared, changed bool) {
	var old *view
	if v, ok := w.views.Load(k); ok {
		old = v.(*view)
	}
	r := s.revisions[k]
	if r == nil {
		if old != nil {
			w.views.Delete(k)
			close(old.changed)
		}
		return false, old != nil
	}
	endpoints, exits := r.endpoints(), r.exits()
	r.setTrouble(time.Now())
	if old != nil && old.trouble == r.trouble && slices.Equal(old.endpoints, endpoints) && slices.Equal(old.exits, exits) {
		if old.job != r.job {
			w.views.Store(k, &view{job: r.job, endpoints: old.endpoints, exits: old.exits, trouble: old.trouble, changed: old.changed})
		}
		return false, false
	}
	w.views.Store(k, &view{job: r.job, endpoints: endpoints, exits: exits, trouble: r.trouble, changed: make(chan struct{})})
	if old == nil {
		return true, true
	}
	close(old.changed)
	return false, true
}

// setTrouble notes what is wrong now. It goes on from when it began, even if
// Nomad words it differently, or for a moment nothing was wrong.
func (r *revision) setTrouble(now time.Time) {
	kind, reason := r.problem()
	t := &r.trouble
	switch {
	case r.job.Count == 0 || r.job.Stopped || kind == "" && t.kind == "":
		*t = trouble{}
	case kind == "":
		if t.over.IsZero() {
			t.over = now
		}
	case kind != t.kind || !t.over.IsZero() && now.Sub(t.over) > relapse:
		*t = trouble{kind: kind, reason: reason, since: now}
	default:
		t.reason, t.over = reason, time.Time{}
	}
}
