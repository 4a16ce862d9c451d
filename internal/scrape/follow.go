package scrape

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/url"
	"syscall"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// follower follows one source.
type follower struct {
	// Guarded by the scraper's mu.
	src          Source
	position     float64       // In the cycle of those that take turns.
	woken        chan struct{} // Signals that it shall not rest any longer.
	removed      bool
	unlisted     bool      // It is listed no more.
	up           bool      // The windows were told of it.
	down         bool      // The windows were told that it has ended,
	endedAt      time.Time // and when.
	asked        bool
	everAnswered bool      // It has answered once.
	silentSince  time.Time // Since when it does not answer; zero: it did last.
	answered     bool
	ready        bool
	report       selfReport
	polling      bool // A poll is open.
	opened       time.Time
	busy         bool // It had load to tell when read last.
	resting      bool // Left alone until its turn.
	boot         string
	next         int64 // Its first second that was not read.
	readBack     time.Duration
	holds        map[string]float64 // What an activator held of each revision, last.
	stop         context.CancelFunc
	interrupt    context.CancelFunc // Of the poll under way.

	// Owned by follow.
	tries  int // To become ready.
	fails  int // In a row.
	quick  int // Polls in a row that were answered at once.
	readAt time.Time
	turn   bool          // It is asked because its turn has come.
	pause  time.Duration // Before it is asked again, after an answer.
}

const (
	readyRetryMin, readyRetryMax = 20 * time.Millisecond, 250 * time.Millisecond
	retryMin, retryMax           = 100 * time.Millisecond, 2 * time.Second
	retryEnded                   = 20 * time.Second // Of an activator that has ended: of those there may be many, and each is asked for a while.
	shortTimeout                 = time.Second      // Of a request that a source answers at once.
	historyTimeout               = 5 * time.Second  // Of one that reads back.
	lateAnswer                   = 5 * time.Second  // How much later than asked a poll may be answered.
	unreadyRead                  = time.Second      // How often an instance is read that is not ready.
	suspectAfter                 = time.Minute      // A source that has not answered for so long since it was placed may have load.
	failuresUnready              = 3                // Failures in a row that make an instance unready.
	silentEnded                  = 10 * time.Second // A source that is not expected to be there and silent for so long is not.
)

// follow asks a source again and again until ctx ends.
func (s *Scraper) follow(ctx context.Context, f *follower) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-f.woken:
		}
		pause := s.pass(ctx, f)
		s.noteAsked(f)
		timer.Reset(pause)
	}
}

func (s *Scraper) noteAsked(f *follower) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !f.asked && !f.removed {
		f.asked = true
		s.recount(f)
	}
}

// pass asks a source once and returns when to ask next.
func (s *Scraper) pass(ctx context.Context, f *follower) time.Duration {
	s.mu.Lock()
	src, ready := f.src, f.ready
	f.turn, f.resting = f.resting, false
	s.mu.Unlock()
	if src.Kind == wadi.SourceInstance && !ready && !src.Stopping {
		return s.passUnready(ctx, f, src)
	}
	wait := s.Wait
	if f.turn { // What it did since is told at once; silence counts only from then on.
		wait = 0
	}
	err := s.read(ctx, f, wait)
	if err != nil {
		f.fails++
		return backoff(retryMin, s.maxRetry(f), f.fails)
	}
	f.fails = 0
	if f.pause > 0 {
		return f.pause
	}
	if f.quick > 2 { // A source that does not wait is not asked all the time.
		return backoff(retryMin, retryMax, f.quick)
	}
	return 0
}

// maxRetry is how long a source is left alone at most that does not answer.
func (s *Scraper) maxRetry(f *follower) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.down && f.src.Stopping && f.src.Kind == wadi.SourceActivator {
		return retryEnded
	}
	return retryMax
}

// passUnready asks whether an instance is ready. Once it answers at all, its
// statistics are read too: it may have been ready before.
func (s *Scraper) passUnready(ctx context.Context, f *follower, src Source) time.Duration {
	ready, why, err := s.askReady(ctx, src.Addr)
	f.tries++
	pause := backoff(readyRetryMin, readyRetryMax, f.tries)
	switch {
	case err != nil:
		s.unreachable(ctx, f, err)
		return pause
	case ready:
		f.tries = 0
		s.setReady(f, true)
		return 0
	}
	s.noteUnready(f, why)
	if time.Since(f.readAt) < unreadyRead {
		return pause
	}
	f.readAt = time.Now()
	_ = s.read(ctx, f, 0) // A failure is taken in there, and this is asked again soon.
	return pause
}

// backoff doubles the pause with each try, less up to a fifth so that not all try at once.
func backoff(first, most time.Duration, tries int) time.Duration {
	d := most
	if tries < 10 {
		d = min(most, first<<max(0, tries-1))
	}
	return time.Duration(float64(d) * (0.8 + 0.2*rand.Float64()))
}

// read asks for what is new, and waits for it up to wait unless there is more to
// read back.
func (s *Scraper) read(ctx context.Context, f *follower, wait time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f.pause = 0
	q := s.query(f, wait, cancel)
	began := s.now()
	a, err := s.ask(ctx, q)
	at := s.now()

	s.mu.Lock()
	defer s.mu.Unlock()
	f.interrupt = nil
	interrupted := ctx.Err() != nil
	if f.removed || err != nil && interrupted {
		s.closePoll(f, time.Time{})
		return nil
	}
	if err != nil {
		s.recordFailure(f, err, began, at)
		return err
	}
	s.record(f, q, a, began, at)
	f.pause = s.restFor(f, q, a, at)
	if q.wait == 0 || f.pause > 0 || at.Sub(began) > 100*time.Millisecond {
		f.quick = 0
	} else {
		f.quick++
	}
	return nil
}

// query says what to ask a follower's source for, and notes that it is asked.
func (s *Scraper) query(f *follower, wait time.Duration, interrupt context.CancelFunc) query {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := query{src: f.src, since: f.next, wait: wait, timeout: wait + lateAnswer}
	if !f.answered || f.fails > 0 || f.readBack > 0 || wait == 0 { // The silence of a poll counts only after an answer.
		q.wait, q.timeout = 0, historyTimeout
		q.since = max(0, f.next-int64(f.readBack/time.Second))
		f.readBack = 0
	}
	f.interrupt = interrupt
	if q.wait > 0 {
		f.polling, f.opened = true, s.now()
		s.eachWindows(f, func(w *scheduler.Windows) { w.OpenPoll(f.src.ID) })
	}
	return q
}

func (s *Scraper) closePoll(f *follower, quiet time.Time) {
	if f.polling {
		f.polling = false
		s.eachWindows(f, func(w *scheduler.Windows) { w.ClosePoll(f.src.ID, quiet) })
	}
}

// unreachable takes in that a source could not be asked.
func (s *Scraper) unreachable(ctx context.Context, f *follower, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() == nil && !f.removed {
		now := s.now()
		s.recordFailure(f, err, now, now)
	}
}

// recordFailure takes in that a request which began some time ago failed. The caller holds mu.
func (s *Scraper) recordFailure(f *follower, err error, began, at time.Time) {
	var asking *url.Error // Not of the answer's body.
	unanswered := errors.As(err, &asking)
	f.busy = false
	refused, broken := errors.Is(err, syscall.ECONNREFUSED), unanswered && connectionEnded(err)
	var quiet time.Time
	if broken || refused { // http.Client dials anew when a connection breaks.
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
		s.notify()
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

// hasEnded reports whether a source that failed just now is gone: only one can be that
// is not expected to stay. An instance whose allocation is listed is there while Nomad
// says so, if it is silent. Else one failure proves nothing, unless nobody listens
// there any more; and who answers something else is somebody else.
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

// suspect takes an instance for loaded that has been there for long and has not
// answered: perhaps it is only we who don't reach it. The caller holds mu.
func (s *Scraper) suspect(f *follower) {
	if !f.up && !f.src.Starting && s.now().Sub(f.src.Placed) >= suspectAfter {
		s.markUp(f, f.src.Placed)
	}
}

// quietUntil is until when a source had nothing to tell whose poll was broken off
// by its end. The zero time is none: the poll was not open for long enough.
func quietUntil(began, at time.Time) time.Time {
	if at.Sub(began) < time.Second {
		return time.Time{}
	}
	return at
}

// connectionEnded reports whether the other side ended the connection.
func connectionEnded(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// markUp tells the windows that the source may have load. The caller holds mu.
func (s *Scraper) markUp(f *follower, since time.Time) {
	if !f.up || f.down {
		f.up, f.down = true, false
		s.eachWindows(f, func(w *scheduler.Windows) { f.beginIn(w, since) })
	}
}

func (s *Scraper) setReady(f *follower, ready bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.markReady(f, ready)
}

// markReady notes the readiness. The caller holds mu.
func (s *Scraper) markReady(f *follower, ready bool) {
	if f.ready != ready && !f.removed && f.src.Kind == wadi.SourceInstance {
		f.ready = ready
		if ready {
			f.report = selfReport{wide: f.report.wide, unshielded: f.report.unshielded, known: f.report.known}
		}
		s.recount(f)
		s.notify()
	}
}
