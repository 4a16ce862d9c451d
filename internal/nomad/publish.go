package nomad

import (
	"maps"
	"slices"
	"time"
)

// publish gives readers what changed since the last time.
func (w *Watcher) publish(s *state) {
	news := s.jobsDirty
	if s.jobsDirty {
		old := w.jobs.Swap(&jobsView{jobs: maps.Clone(s.jobs), changed: make(chan struct{})})
		close(old.changed)
		s.jobsDirty = false
	}
	appeared := false
	for id := range s.dirty {
		now, changed := w.publishRevision(s, id)
		appeared, news = appeared || now, news || changed
	}
	clear(s.dirty)
	if appeared {
		fresh := make(chan struct{})
		close(*w.absent.Swap(&fresh))
	}
	if news {
		fresh := make(chan struct{})
		close(*w.changed.Swap(&fresh))
	}
}

// publishRevision tells whether the revision was not known to readers before,
// and whether what they get changed.
func (w *Watcher) publishRevision(s *state, id string) (appeared, changed bool) {
	var old *view
	if v, ok := w.views.Load(id); ok {
		old = v.(*view)
	}
	r := s.revisions[id]
	if r == nil {
		if old != nil {
			w.views.Delete(id)
			close(old.changed)
		}
		return false, old != nil
	}
	endpoints := r.endpoints()
	r.setTrouble(s.jobs[id], time.Now())
	fresh := &view{endpoints: endpoints, trouble: r.trouble, changed: make(chan struct{})}
	if old != nil && old.trouble == fresh.trouble && slices.Equal(old.endpoints, endpoints) {
		return false, false
	}
	w.views.Store(id, fresh)
	if old == nil {
		return true, true
	}
	close(old.changed)
	return false, true
}

// setTrouble notes what is wrong now. It goes on from when it began, even if
// Nomad words it differently, or for a moment nothing was wrong.
func (r *revision) setTrouble(j JobState, now time.Time) {
	kind, reason := r.problem(j)
	t := &r.trouble
	switch {
	case j.Count == 0 || j.Stopped || kind == "" && t.kind == "":
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
