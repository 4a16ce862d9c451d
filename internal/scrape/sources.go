package scrape

import (
	"slices"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// minKeep is the shortest window that is kept.
const minKeep = 6 * time.Second

// Set replaces the revisions and the sources. An unlisted source is followed until it
// stops answering, because lists may be wrong, and a draining agent is in no list. The
// statistics of a revision are kept as long as it is listed.
func (s *Scraper) Set(revisions []Revision, sources []Source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setRevisions(revisions)
	listed := make(map[string]bool, len(sources))
	for _, src := range sources {
		listed[src.ID] = true
		s.setSource(src)
	}
	for id, f := range s.followers {
		if !listed[id] {
			s.unlist(f)
		}
	}
	s.metrics.sources.Set(float64(len(s.followers)))
	if len(s.unstarted) > 0 {
		signal(s.added)
	}
}

func (s *Scraper) setRevisions(revisions []Revision) {
	listed := make(map[string]bool, len(revisions))
	for _, r := range revisions {
		r.Window = max(minKeep, r.Window)
		listed[r.ID] = true
		old := s.revisions[r.ID]
		switch {
		case old == nil:
			s.addRevision(r)
		case r.Window != old.Window:
			longer := r.Window > old.Window
			old.Window = r.Window
			old.windows.Keep(r.Window)
			if longer {
				s.readBack(r.ID, r.Window)
			}
		}
	}
	for id := range s.revisions {
		if !listed[id] {
			delete(s.revisions, id)
			s.dropIfEmpty(id)
			for _, f := range s.followers { // Its answers are not looked at for this revision any more.
				delete(f.requests, id)
			}
		}
	}
}

func (s *Scraper) addRevision(r Revision) {
	rev := &revision{Revision: r, windows: s.Windows(r.Created, r.Window), instances: s.group(r.ID)}
	s.revisions[r.ID] = rev
	s.eachFollower(r.ID, func(f *follower) {
		switch {
		case f.src.Kind == wadi.SourceActivator:
			f.beginIn(rev.windows, r.Created)
		case f.up:
			f.beginIn(rev.windows, f.src.Placed)
		}
		if f.down {
			rev.windows.SourceDown(f.src.ID, f.endedAt)
		}
	})
	s.readBack(r.ID, min(r.Window, s.now().Sub(r.Created)))
}

// readBack makes the sources of a revision report their last d again, for windows that are
// new.
func (s *Scraper) readBack(revision string, d time.Duration) {
	s.eachFollower(revision, func(f *follower) {
		if f.answered {
			f.readBack = max(f.readBack, d+readBackSlack)
			f.wake()
		}
	})
}

// readBackSlack covers that the seconds of different sources begin at different times.
const readBackSlack = 10 * time.Second

func (s *Scraper) setSource(src Source) {
	f := s.followers[src.ID]
	if f == nil {
		s.created++
		f = &follower{src: src, position: cyclePosition(s.created), woken: make(chan struct{}, 1)}
		s.followers[src.ID] = f
		g := s.group(src.Revision)
		g.all = append(g.all, f)
		s.recount(f)
		s.unstarted = append(s.unstarted, f)
		if src.Kind == wadi.SourceActivator {
			f.up = true
			for _, r := range s.revisions {
				f.beginIn(r.windows, r.Created)
			}
		} else {
			s.suspect(f)
		}
		return
	}
	moved := f.src.Addr != src.Addr
	stops, stays := src.Stopping && !f.src.Stopping, !src.Stopping && f.src.Stopping
	if src.Stopping != f.src.Stopping {
		s.recount(f)
	}
	f.src, f.unlisted = src, false
	switch {
	case moved:
		f.wake()
	case stops && f.resting: // It has little time left to report.
		signal(f.woken)
	case stays && f.down: // It may be back.
		signal(f.woken)
	}
	if stops && f.ready {
		s.notify(f)
	}
}

// beginIn notes in windows that the source may have load since a time.
func (f *follower) beginIn(w *scheduler.Windows, since time.Time) {
	w.SourceUp(f.src.ID, f.src.Kind, since)
	if !f.src.Seen.IsZero() {
		w.SourceSeen(f.src.ID, f.src.Seen)
	}
}

// unlist handles a source that is no longer listed. If it answers, it is followed until it
// stops answering.
func (s *Scraper) unlist(f *follower) {
	measured := f.src.Kind == wadi.SourceActivator || s.revisions[f.src.Revision] != nil
	if !measured || !f.everAnswered || f.down {
		s.remove(f)
		return
	}
	src := f.src
	src.Stopping = true
	s.setSource(src)
	f.unlisted = true
}

// remove stops following a source.
func (s *Scraper) remove(f *follower) {
	f.removed = true
	if f.stop != nil {
		f.stop()
	}
	delete(s.followers, f.src.ID)
	if s.Outcomes != nil {
		s.Outcomes.Gone(f.src.ID, s.now())
	}
	g := s.group(f.src.Revision)
	g.all = slices.DeleteFunc(g.all, func(o *follower) bool { return o == f })
	s.recount(f)
	s.dropIfEmpty(f.src.Revision)
	s.eachWindows(f, func(w *scheduler.Windows) { w.SourceDown(f.src.ID, s.now()) })
	if f.ready {
		s.notify(f)
	}
}

// eachWindows calls do with the windows of each revision that a source is about.
func (s *Scraper) eachWindows(f *follower, do func(w *scheduler.Windows)) {
	if f.src.Kind != wadi.SourceActivator {
		if r := s.revisions[f.src.Revision]; r != nil {
			do(r.windows)
		}
		return
	}
	for _, r := range s.revisions {
		do(r.windows)
	}
}

// notify signals that the readiness of an instance has changed, or whether it is known. The
// caller holds mu.
func (s *Scraper) notify(f *follower) {
	if service, _, ok := wadi.SplitRevisionID(f.src.Revision); ok {
		s.news[service] = true
	}
	close(s.changed)
	s.changed = make(chan struct{})
}
