package nomad

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wadi-run/wadi"
)

// publish gives readers the changes since the last publication.
func (w *Watcher) publish(s *state) {
	anyAppeared, anyChanged := false, false
	for k, job := range s.dirty {
		appeared, changed := w.publishRevision(s, k)
		anyAppeared, anyChanged = anyAppeared || appeared, anyChanged || changed || job
		if changed || job {
			service, _, _ := wadi.SplitRevisionID(k.id)
			w.news.add(service)
		}
	}
	clear(s.dirty)
	if anyAppeared {
		broadcast(&w.absent)
	}
	if anyChanged {
		broadcast(&w.changed)
	}
}

// notifyAll wakes the readers that wait for any change: it may concern every revision.
func (w *Watcher) notifyAll() {
	w.news.addAll()
	broadcast(&w.changed)
}

// news are the services with changes that were not taken yet. The zero value has none.
type news struct {
	mu       sync.Mutex
	services map[string]bool // As many as there are services, at most.
	all      bool
}

func (n *news) add(service string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.services == nil {
		n.services = map[string]bool{}
	}
	n.services[service] = true
}

func (n *news) addAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = true
}

func (n *news) take() (services []string, all bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	services, all = slices.Collect(maps.Keys(n.services)), n.all
	n.services, n.all = nil, false
	return services, all
}

// broadcast closes the channel that readers wait for, and replaces it by a new one.
func broadcast(ch *atomic.Pointer[chan struct{}]) {
	fresh := make(chan struct{})
	close(*ch.Swap(&fresh))
}

// publishRevision reports whether readers did not know the revision before, and whether
// its instances, exits or diagnosis changed.
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
	r.updateDiagnosis(time.Now())
	if old != nil && old.diagnosis == r.diagnosis && slices.Equal(old.endpoints, endpoints) && slices.Equal(old.exits, exits) {
		if old.job != r.job {
			w.views.Store(k, &view{job: r.job, endpoints: old.endpoints, exits: old.exits, diagnosis: old.diagnosis, changed: old.changed})
		}
		return false, false
	}
	w.views.Store(k, &view{job: r.job, endpoints: endpoints, exits: exits, diagnosis: r.diagnosis, changed: make(chan struct{})})
	if old == nil {
		return true, true
	}
	close(old.changed)
	return false, true
}

// updateDiagnosis sets the present diagnosis. The same kind of diagnosis keeps its
// beginning, even if Nomad words it differently or it was gone for a moment.
func (r *revision) updateDiagnosis(now time.Time) {
	d := r.diagnose()
	t := &r.diagnosis
	switch {
	case r.job.Count == 0 || r.job.Stopped || d.kind == "" && t.kind == "":
		*t = diagnosis{}
	case d.kind == "":
		if t.overAt.IsZero() {
			t.overAt = now
		}
	case d.kind != t.kind || !t.overAt.IsZero() && now.Sub(t.overAt) > relapse:
		d.since = now
		*t = d
	default:
		t.reason, t.pull, t.overAt = d.reason, d.pull, time.Time{}
	}
}
