package scrape

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// record records the answer to a question asked at began. The caller holds mu.
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
	if len(a.stats) == 0 { // An activator that has seen no request yet.
		f.next = 0
		s.eachWindows(f, func(w *scheduler.Windows) { w.ClosePoll(f.src.ID, at) })
		return
	}
	boot := a.stats[0].Boot
	if boot != f.boot && f.boot != "" && q.since > 0 {
		// Another process: what it did before the second that was asked for is read next.
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

// recordStats gives an answer to the windows that it is about, and returns the first
// second that it does not tell of all of them. The caller holds mu.
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
		if !ok { // Nothing of this one.
			st = wadi.Stats{Source: all[0].Source, Boot: all[0].Boot, Now: now, Revision: id}
		}
		s.noteBacklog(f, st)
		r.windows.Report(f.src.ID, since, st, at)
	}
	return now
}

// noteBacklog notes that an activator has more requests of a revision than a second ago.
func (s *Scraper) noteBacklog(f *follower, st wadi.Stats) {
	held := 0.0
	if n := len(st.Samples); n > 0 && st.Samples[n-1].N == st.Now-1 {
		held = st.Samples[n-1].Concurrency
	}
	if held > f.holds[st.Revision] {
		s.Backlog.Add(st.Revision)
	}
	if f.holds == nil {
		f.holds = map[string]float64{}
	}
	if held > 0 {
		f.holds[st.Revision] = held
	} else {
		delete(f.holds, st.Revision)
	}
}

// confirmTimeout bounds the read of one source in Confirm.
const confirmTimeout = 2 * time.Second

// Confirm reads every source of a revision that has an open poll once, without
// waiting: silence must not be mistaken for rest when a count is lowered. What a
// source that does not answer has not told yet is unknown then.
func (s *Scraper) Confirm(ctx context.Context, revision string) {
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	var g errgroup.Group
	for _, f := range s.polled(revision) {
		g.Go(func() error {
			s.confirm(ctx, f)
			return nil
		})
	}
	_ = g.Wait()
}

func (s *Scraper) polled(revision string) []*follower {
	s.mu.Lock()
	defer s.mu.Unlock()
	var fs []*follower
	s.eachFollower(revision, func(f *follower) {
		if f.polling {
			fs = append(fs, f)
		}
	})
	return fs
}

func (s *Scraper) confirm(ctx context.Context, f *follower) {
	s.mu.Lock()
	q := query{src: f.src, since: f.next, timeout: confirmTimeout}
	boot := f.boot
	s.mu.Unlock()

	a, err := s.ask(ctx, q)
	at := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	other := len(a.stats) > 0 && a.stats[0].Boot != boot && q.since > 0
	switch {
	case f.removed || f.boot != boot:
		return
	case err != nil || other: // The poll itself finds out what is wrong.
		s.eachWindows(f, func(w *scheduler.Windows) { w.ClosePoll(f.src.ID, time.Time{}) })
		return
	}
	s.record(f, q, a, at, at)
	if f.polling {
		s.eachWindows(f, func(w *scheduler.Windows) { w.OpenPoll(f.src.ID) })
	}
}
