package scrape

import (
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// record takes the answer to a question that was sent at began. The caller holds mu.
func (s *Scraper) record(f *follower, q query, a answer, began, at time.Time) {
	s.metrics.answers.Inc()
	if q.wait > 0 {
		f.polling = false
	}
	s.markUp(f, at)
	f.answered, f.everAnswered, f.silentSince = true, true, time.Time{}
	if a.ready != "" {
		s.markReady(f, a.ready == "true")
		s.noteSelfReport(f, a)
	}
	if len(a.stats) == 0 { // An activator without requests so far.
		f.next = 0
		s.eachWindows(f, func(w *scheduler.Windows) { w.ClosePoll(f.src.ID, at) })
		return
	}
	if s.Outcomes != nil {
		s.Outcomes.Report(f.src.ID, f.src.Revision, a.stats, at)
	}
	boot := a.stats[0].Boot
	if boot != f.boot && f.boot != "" && q.since > 0 {
		// Another process: its seconds before the requested one are read next.
		f.boot, f.next, f.answered = "", 0, false
		var quiet time.Time
		if q.wait > 0 {
			quiet = quietUntil(began, at)
		}
		s.eachWindows(f, func(w *scheduler.Windows) { w.ClosePoll(f.src.ID, quiet) })
		return
	}
	if boot != f.boot {
		f.boot, f.next = boot, 0
	}
	f.next = max(f.next, s.recordStats(f, q.since, a.stats, at))
}

// recordStats adds an answer to the windows, and returns the first second that it does not
// contain completely. The caller holds mu.
func (s *Scraper) recordStats(f *follower, since int64, all []wadi.Stats, at time.Time) int64 {
	if f.src.Kind != wadi.SourceActivator {
		s.eachWindows(f, func(w *scheduler.Windows) { w.Report(f.src.ID, since, all[0], at) })
		return all[0].Now
	}
	now := all[0].Now
	lines := make(map[string]wadi.Stats, len(all))
	for _, st := range all {
		lines[st.Revision] = st
		now = min(now, st.Now)
	}
	for id, r := range s.revisions {
		st, ok := lines[id]
		if !ok { // No request of this revision.
			st = wadi.Stats{Source: all[0].Source, Boot: all[0].Boot, Now: now, Revision: id}
		}
		s.noteBacklog(f, st)
		r.windows.Report(f.src.ID, since, st, at)
	}
	return now
}

// noteBacklog notes that an activator has more requests of a revision than a second ago.
func (s *Scraper) noteBacklog(f *follower, st wadi.Stats) {
	requests := 0.0
	if n := len(st.Samples); n > 0 && st.Samples[n-1].N == st.Now-1 {
		requests = st.Samples[n-1].Concurrency
	}
	if requests > f.requests[st.Revision] {
		s.Backlog.Add(st.Revision)
	}
	if f.requests == nil {
		f.requests = map[string]float64{}
	}
	if requests > 0 {
		f.requests[st.Revision] = requests
	} else {
		delete(f.requests, st.Revision)
	}
}
