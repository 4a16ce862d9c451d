package scheduler_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// Whatever happens to a service, no revision is forgotten that is in use, pinned or what
// "latest" stands for, that was used after those that are kept, or that is too young; and
// no other is kept.
func TestPlan_RetentionOfRandomHistories(t *testing.T) {
	forgotten := 0
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 2))
		w := newWorld(1)
		w.d.Marks = map[string]wadi.Mark{}
		w.forget = func(id string) {
			forgotten++
			if why := w.mustKeep(id); why != "" {
				t.Fatalf("seed %d: forgot %s, which %s; traffic %v, log %v", seed, id, why, w.d.Service.Traffic, w.log)
			}
		}
		for range 60 {
			w.happens(r)
			w.settle(t)
			for _, id := range w.tooMany() {
				t.Fatalf("seed %d: kept %s of %v (%+v); retention %+v %+v", seed, id, w.kept(), w.d.State.Revisions[id], w.d.Service.Retention, w.d.Retention)
			}
		}
	}
	if forgotten < 100 {
		t.Errorf("only %d revisions were forgotten: the test says little", forgotten)
	}
}

// happens is an event of a service's life.
func (w *world) happens(r *rand.Rand) {
	rev := w.d.Revisions[r.IntN(len(w.d.Revisions))].ID
	switch r.IntN(10) {
	case 0, 1, 2:
		w.submit()
		w.d.Revisions[len(w.d.Revisions)-1].Created = w.o.Now.Unix()
		if r.IntN(3) > 0 {
			w.ready(w.d.Latest, 1)
		}
	case 3: // What is not ready fails, with or without an instance.
		if w.o.Instances[w.d.Latest].Ready == 0 && r.IntN(2) == 0 {
			w.o.Instances[w.d.Latest] = scheduler.Instances{Alive: 1}
		}
		w.o.Now = w.o.Now.Add(2 * time.Minute)
	case 4:
		w.o.Now = w.o.Now.Add(time.Duration(r.IntN(40)) * time.Hour)
	case 5:
		w.d.Service.Traffic = randomTraffic(r, w.d.Revisions)
	case 6:
		to := []string{wadi.Latest, rev}[r.IntN(2)]
		w.d.Service.Traffic = []wadi.TrafficTarget{{Revision: to, Percent: 100}}
	case 7:
		if mark := w.d.Marks[rev]; !mark.Deleted {
			w.d.Marks[rev] = wadi.Mark{Pinned: !mark.Pinned}
		}
	case 8:
		if w.inUse(rev) == "" && !w.d.Marks[rev].Pinned {
			w.d.Marks[rev] = wadi.Mark{Deleted: true}
		}
	case 9:
		w.d.Service.Rollout = nil
		if r.IntN(2) == 0 {
			w.d.Service.Rollout = &wadi.Rollout{Duration: wadi.Duration(time.Hour), Steps: r.IntN(4)}
		}
		age := wadi.Duration(r.IntN(30)) * wadi.Duration(time.Hour)
		w.d.Service.Retention = wadi.Retention{Keep: r.IntN(4)}
		if w.d.Retention = (scheduler.Retention{KeepFor: age.D(), Max: r.IntN(6)}); r.IntN(2) == 0 {
			w.d.Service.Retention.KeepActiveFor = &age
		}
	}
	for _, rev := range w.d.Revisions { // The autoscaler lowers what has no traffic.
		if scheduler.Targeted(w.o.Route, rev.ID) && w.o.Jobs[rev.ID].Running() {
			w.ready(rev.ID, 1)
		} else if w.o.Instances[rev.ID].Alive > 0 && rev.ID != w.d.Latest && r.IntN(2) == 0 {
			w.ready(rev.ID, 0)
		}
	}
}

// inUse says what a revision is used for; empty: nothing.
func (w *world) inUse(id string) string {
	for _, t := range w.o.Route.Targets {
		if t.Revision == id {
			return "is routed"
		}
	}
	for _, t := range w.d.Service.Traffic {
		if t.Revision == id {
			return "the traffic names"
		}
	}
	if rs := w.d.State.Rollout; rs != nil {
		for _, s := range rs.Shares {
			if s.Revision == id {
				return "has a part in a rollout"
			}
		}
	}
	if id == w.d.Latest {
		return "is the newest"
	}
	if w.o.Jobs[id].Exists {
		return "has a job"
	}
	return ""
}

// standsForLatest is the newest revision that became ready and did not fail.
func (w *world) standsForLatest() (id string) {
	for _, rev := range w.d.Revisions {
		if s := w.d.State.Revisions[rev.ID]; s.Phase == wadi.Ready || s.Phase == wadi.Retired && s.WasReady {
			id = max(id, rev.ID)
		}
	}
	return id
}

// idle are the revisions that retention decides on, the last used at the end.
func (w *world) idle() (ids []string) {
	for _, rev := range w.d.Revisions {
		s := w.d.State.Revisions[rev.ID]
		if (s.Phase == wadi.Retired || s.Phase == wadi.Failed) && w.inUse(rev.ID) == "" &&
			w.d.Marks[rev.ID] == (wadi.Mark{}) && rev.ID != w.standsForLatest() {
			ids = append(ids, rev.ID)
		}
	}
	use := func(id string) string {
		s := w.d.State.Revisions[id]
		return fmt.Sprintf("%v %s %s", s.WasReady, s.Since.UTC().Format(time.RFC3339Nano), id)
	}
	slices.SortFunc(ids, func(a, b string) int { return cmp.Compare(use(a), use(b)) })
	return ids
}

func (w *world) young(id string) bool {
	i := slices.IndexFunc(w.d.Revisions, func(rev wadi.Revision) bool { return rev.ID == id })
	active := w.d.Retention.KeepActiveFor
	if own := w.d.Service.Retention.KeepActiveFor; own != nil {
		active = own.D()
	}
	return w.o.Now.Sub(time.Unix(w.d.Revisions[i].Created, 0)) < w.d.Retention.KeepFor ||
		w.o.Now.Sub(w.d.State.Revisions[id].Since) < active
}

// mustKeep says why a revision may not be forgotten; empty: it may.
func (w *world) mustKeep(id string) string {
	if why := w.inUse(id); why != "" {
		return why
	}
	if w.d.Marks[id].Deleted {
		return ""
	}
	idle := w.idle()
	switch at := slices.Index(idle, id); {
	case at < 0:
		return "is pinned or stands for latest"
	case len(idle)-at <= w.d.Service.Retention.Keep:
		return "is one of the last used"
	case w.young(id) && (w.d.Retention.Max == 0 || len(idle)-at <= w.d.Retention.Max):
		return "is young"
	}
	return ""
}

// tooMany are the revisions that are kept for no reason.
func (w *world) tooMany() (ids []string) {
	for _, rev := range w.d.Revisions {
		deleted := w.d.Marks[rev.ID].Deleted && w.inUse(rev.ID) == ""
		if s := w.d.State.Revisions[rev.ID]; (s.Phase == wadi.Retired || s.Phase == wadi.Failed) && (deleted || slices.Contains(w.idle(), rev.ID) && w.mustKeep(rev.ID) == "") {
			ids = append(ids, rev.ID)
		}
	}
	return ids
}
