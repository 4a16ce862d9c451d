package scrape

import (
	"context"
	"errors"
	"io"
	"net/url"
	"syscall"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// unreachable records that a source could not be asked.
func (s *Scraper) unreachable(ctx context.Context, f *follower, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() == nil && !f.removed {
		now := s.now()
		s.recordFailure(f, err, now, now)
	}
}

// recordFailure records that a request failed, which was sent at began. The caller holds
// mu.
func (s *Scraper) recordFailure(f *follower, err error, began, at time.Time) {
	var asking *url.Error // The request failed, not the reading of the answer's body.
	unanswered := errors.As(err, &asking)
	f.busy = false
	refused, broken := errors.Is(err, syscall.ECONNREFUSED), unanswered && connectionEnded(err)
	var quiet time.Time
	if broken || refused { // http.Client dials again after a broken connection, so a poll may fail in either way.
		quiet = quietUntil(began, at)
	}
	if f.answered || f.src.Kind == wadi.SourceActivator {
		s.metrics.failures.Inc()
	}
	if f.answered && f.fails == 0 && !f.src.Stopping {
		s.log.Debug("source of statistics does not answer", "source", f.src.ID, "kind", f.src.Kind, "error", err)
	}
	s.closePoll(f, quiet)
	if f.ready && unanswered && (refused || f.fails+1 >= failuresUnready) {
		f.ready = false
		s.recount(f)
		s.notify(f)
	}
	if f.silentSince.IsZero() {
		f.silentSince = at
	}
	if f.hasEnded(refused, broken, unanswered, at) {
		if f.unlisted {
			s.remove(f)
			s.metrics.sources.Set(float64(len(s.followers)))
			return
		}
		if f.up && !f.down {
			f.down, f.endedAt = true, at
			s.eachWindows(f, func(w *scheduler.Windows) { w.SourceDown(f.src.ID, at) })
		}
	}
	s.suspect(f)
	if f.src.Kind == wadi.SourceInstance {
		s.unanswered(f)
	}
}

// hasEnded reports whether a source has ended whose request has just failed. Only a
// stopping source can have ended. A listed instance that is silent has not, as Nomad still
// knows it. Otherwise one failure proves nothing, unless the port is closed. An answer
// that makes no sense comes from another process.
func (f *follower) hasEnded(refused, broken, unanswered bool, at time.Time) bool {
	expected := f.src.Kind == wadi.SourceInstance && !f.unlisted
	switch {
	case !f.src.Stopping:
		return false
	case refused, broken && expected:
		return true
	case expected:
		return false
	case broken, !unanswered:
		return f.fails > 0
	}
	return at.Sub(f.silentSince) >= silentEnded
}

// suspect treats an instance as loaded that was created long ago and has never answered:
// perhaps only this agent can't reach it. The caller holds mu.
func (s *Scraper) suspect(f *follower) {
	if !f.up && !f.src.Starting && s.now().Sub(f.src.Placed) >= suspectAfter {
		s.markUp(f, f.src.Placed)
	}
}

// quietUntil is the time until which a source had no load, if its end broke off the poll;
// zero if the poll was open for less than a second.
func quietUntil(began, at time.Time) time.Time {
	if at.Sub(began) < time.Second {
		return time.Time{}
	}
	return at
}

// connectionEnded reports whether the peer ended the connection.
func connectionEnded(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
