package scrape

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// follower is the state of one source.
type follower struct {
	// Guarded by the scraper's mu.
	src          Source
	position     float64       // In the cycle in which busy instances take turns.
	woken        chan struct{} // Signals that its rest is over.
	removed      bool
	unlisted     bool      // No list has it any more.
	up           bool      // The windows know it as a source.
	down         bool      // The windows know that it has ended,
	endedAt      time.Time // at this time.
	asked        bool
	everAnswered bool      // It has answered at least once.
	silentSince  time.Time // Since when it has not answered; zero: it answered last.
	answered     bool
	ready        bool
	report       selfReport
	polling      bool // A poll is open.
	opened       time.Time
	busy         bool // It had load when it was read last.
	resting      bool // Not asked before its turn.
	boot         string
	next         int64 // The first second that was not read.
	readBack     time.Duration
	requests     map[string]float64 // An activator's requests of each revision, as last read.
	stop         context.CancelFunc
	interrupt    context.CancelFunc // Ends the poll in flight.

	// Owned by follow.
	tries  int // Attempts to become ready.
	fails  int // Failures in a row.
	quick  int // Polls in a row that were answered at once.
	readAt time.Time
	turn   bool          // Asked because its turn has come.
	pause  time.Duration // Until it is asked again after an answer.
}

const (
	readyRetryMin, readyRetryMax = 20 * time.Millisecond, 250 * time.Millisecond
	retryMin, retryMax           = 100 * time.Millisecond, 2 * time.Second
	retryEnded                   = 20 * time.Second // Of an activator that has ended: there may be many, and each is asked for a while.
	shortTimeout                 = time.Second      // Of a request that is answered at once.
	historyTimeout               = 5 * time.Second  // Of a request for past seconds.
	lateAnswer                   = 5 * time.Second  // How late the answer to a poll may be.
	unreadyRead                  = time.Second      // How often an unready instance is read.
	pollsPerSecond               = 150              // Of idle instances.
	pollMost                     = 3 * time.Minute  // Of a poll, on average; sources allow 5 minutes.
	suspectAfter                 = time.Minute      // An instance that was created so long ago and has never answered may have load.
	failuresUnready              = 3                // Failures in a row that make an instance unready.
	silentEnded                  = 10 * time.Second // A source that should have ended, and has been silent for so long, has ended.
)

// follow asks a source repeatedly until ctx ends.
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
		s.notify(f)
	}
}

// pass asks a source once and returns when to ask next.
func (s *Scraper) pass(ctx context.Context, f *follower) time.Duration {
	s.mu.Lock()
	src, ready, sources := f.src, f.ready, len(s.followers)
	f.turn, f.resting = f.resting, false
	s.mu.Unlock()
	if src.Kind == wadi.SourceInstance && !ready && !src.Stopping {
		return s.passUnready(ctx, f, src)
	}
	wait := s.pollFor(src.Kind, f.position, sources)
	if f.turn { // Its past load is reported at once; silence counts only from now on.
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
	if f.quick > 2 { // Polls that are answered at once are slowed down.
		return backoff(retryMin, retryMax, f.quick)
	}
	return 0
}

// pollFor is how long a source may leave a poll unanswered. With very many sources that is
// longer, so that idle instances are asked no more than pollsPerSecond times a second in all,
// and each for another time, so that they are not asked all at once. A host that has vanished
// is noticed by keep-alives, and what a poll has not reported is asked for before a count is
// lowered.
func (s *Scraper) pollFor(kind wadi.SourceKind, position float64, sources int) time.Duration {
	wait := min(time.Duration(sources)*time.Second/pollsPerSecond, pollMost)
	if kind != wadi.SourceInstance || wait <= s.Wait {
		return s.Wait
	}
	return time.Duration((0.75 + position/2) * float64(wait))
}

// maxRetry is the longest pause before a source that does not answer is asked again.
func (s *Scraper) maxRetry(f *follower) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.down && f.src.Stopping && f.src.Kind == wadi.SourceActivator {
		return retryEnded
	}
	return retryMax
}

// passUnready asks whether an instance is ready. If it answers at all, its statistics are
// read too: it may have been ready before.
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
	_ = s.read(ctx, f, 0) // read handles a failure, and the instance is asked again soon.
	return pause
}

// backoff doubles the pause with each try, with up to a fifth off at random, so that
// sources are not asked all at once.
func backoff(first, most time.Duration, tries int) time.Duration {
	d := most
	if tries < 10 {
		d = min(most, first<<max(0, tries-1))
	}
	return time.Duration(float64(d) * (0.8 + 0.2*rand.Float64()))
}

// read asks for new statistics, and waits up to wait for them, unless there are past
// seconds to read.
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

// query returns the next question for a follower's source, and notes that it is being
// asked.
func (s *Scraper) query(f *follower, wait time.Duration, interrupt context.CancelFunc) query {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := query{src: f.src, since: f.next, wait: wait, timeout: wait + lateAnswer}
	if !f.answered || f.fails > 0 || f.readBack > 0 || wait == 0 { // The silence of a poll proves no rest before the first answer.
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

// markUp notes in the windows that the source may have load. The caller holds mu.
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

// markReady sets the readiness. The caller holds mu.
func (s *Scraper) markReady(f *follower, ready bool) {
	if f.ready != ready && !f.removed && f.src.Kind == wadi.SourceInstance {
		f.ready = ready
		if ready {
			f.report = selfReport{wide: f.report.wide, unshielded: f.report.unshielded, known: f.report.known}
		}
		s.recount(f)
		s.notify(f)
	}
}
