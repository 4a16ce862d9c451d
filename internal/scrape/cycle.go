package scrape

import (
	"math"
	"time"

	"github.com/wadi-run/wadi"
)

const (
	// A turn comes at least once in a quarter of the window, so that most of it is
	// read and not extrapolated. With it comes the word of who is not ready.
	turnsPerWindow     = 4
	minCycle, maxCycle = 2 * time.Second, 10 * time.Second

	// minRest is how long an instance is left alone at least: one that is read
	// within a second has nothing new to tell.
	minRest = time.Second

	// quietAfter is for how long a poll of a busy instance is open before it counts as idle.
	quietAfter = 2 * time.Second
)

// cycle is how long it takes until each busy instance of a revision has been
// read once, perSecond of them in a second; 0: they are read every second.
func cycle(busy, perSecond int, window time.Duration) time.Duration {
	if busy <= perSecond {
		return 0
	}
	d := time.Duration((busy+perSecond-1)/perSecond) * time.Second
	return min(d, max(minCycle, min(maxCycle, window/turnsPerWindow)))
}

// nextTurn is how long after now, counted from any fixed moment, the turn comes of
// whoever has a place in [0, 1) in the cycle.
func nextTurn(now, cycle time.Duration, place float64) time.Duration {
	d := (time.Duration(place*float64(cycle)) - now%cycle + cycle) % cycle
	if d < minRest {
		d += cycle
	}
	return d
}

// cyclePosition spreads the n-th source evenly among those before it (by the golden ratio).
func cyclePosition(n int) float64 {
	_, frac := math.Modf(float64(n) * (math.Phi - 1))
	return frac
}

// restFor says for how long a source that has just answered is left alone: an idle
// one, an activator, and one that stops never are. The caller holds mu.
func (s *Scraper) restFor(f *follower, q query, a answer, at time.Time) time.Duration {
	if q.wait > 0 || f.turn { // Else the answer may be all about long ago.
		f.busy = len(a.stats) > 0 && len(a.stats[0].Samples) > 0
	}
	r := s.revisions[f.src.Revision]
	if !f.busy || q.wait == 0 && !f.turn || f.src.Kind != wadi.SourceInstance || f.src.Stopping || !f.ready || !f.answered || f.readBack > 0 || r == nil {
		return 0
	}
	every := cycle(s.busyOf(r, at), s.PerSecond, r.Window)
	if every == 0 {
		return 0
	}
	d := nextTurn(at.Sub(s.start), every, f.position)
	f.resting = true
	r.windows.Defer(f.src.ID, at.Add(d))
	return d
}

// busyOf is how many instances of a revision are busy, counted once a second. The
// caller holds mu.
func (s *Scraper) busyOf(r *revision, at time.Time) int {
	if at.Sub(r.counted) < time.Second {
		return r.busy
	}
	r.counted, r.busy = at, 0
	for _, f := range r.instances.all {
		if f.busy && f.ready && !(f.polling && at.Sub(f.opened) > quietAfter) {
			r.busy++
		}
	}
	return r.busy
}

// wake makes a source be asked now, whatever it is waited for. The caller holds mu.
func (f *follower) wake() {
	if f.interrupt != nil {
		f.interrupt()
	}
	if f.resting {
		signal(f.woken)
	}
}
