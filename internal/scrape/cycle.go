package scrape

import (
	"math"
	"time"

	"github.com/wadi-run/wadi"
)

const (
	// A turn comes at least four times per window, so that most of the window is measured
	// and not extrapolated. It also brings the news of an instance that is not ready.
	turnsPerWindow     = 4
	minCycle, maxCycle = 2 * time.Second, 10 * time.Second

	// minRest is the shortest time between two reads of an instance: within a second there
	// are no new statistics.
	minRest = time.Second

	// quietAfter is how long a poll of a busy instance is open before the instance counts
	// as idle.
	quietAfter = 2 * time.Second
)

// cycle is how long it takes to read each busy instance of a revision once, at perSecond
// per second; 0: each is read every second.
func cycle(busy, perSecond int, window time.Duration) time.Duration {
	if busy <= perSecond {
		return 0
	}
	d := time.Duration((busy+perSecond-1)/perSecond) * time.Second
	return min(d, max(minCycle, min(maxCycle, window/turnsPerWindow)))
}

// nextTurn is the time from now until the next turn of a position in [0, 1) in the cycle.
// now counts from any fixed moment.
func nextTurn(now, cycle time.Duration, position float64) time.Duration {
	d := (time.Duration(position*float64(cycle)) - now%cycle + cycle) % cycle
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

// restFor is how long a source that has just answered is not asked. Idle sources,
// activators, and sources that stop never rest. The caller holds mu.
func (s *Scraper) restFor(f *follower, q query, a answer, at time.Time) time.Duration {
	if q.wait > 0 || f.turn { // Otherwise the answer may be about the past only.
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

// busyOf is how many instances of a revision are busy, counted at most once per second.
// The caller holds mu.
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

// wake makes the follower ask its source now. The caller holds mu.
func (f *follower) wake() {
	if f.interrupt != nil {
		f.interrupt()
	}
	if f.resting {
		signal(f.woken)
	}
}
