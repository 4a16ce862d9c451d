package scrape

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wadi-run/wadi/scheduler"
)

// confirmTimeout bounds the read of one source in Confirm.
const confirmTimeout = 2 * time.Second

// Confirm reads every source of a revision that has an open poll, once and without
// waiting: a silent source must not be mistaken for an idle one when a count is lowered.
// If a source does not answer, its load is unknown afterwards.
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
	case err != nil || other: // The poll finds out what is wrong.
		s.eachWindows(f, func(w *scheduler.Windows) { w.ClosePoll(f.src.ID, time.Time{}) })
		return
	}
	s.record(f, q, a, at, at)
	if f.polling {
		s.eachWindows(f, func(w *scheduler.Windows) { w.OpenPoll(f.src.ID) })
	}
}
