package scheduler

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
)

// Windows measures one revision: it keeps what the revision's sources reported,
// second by second, and averages it. Sources count their own seconds; they are
// mapped to the seconds of whoever reads them, so the clocks of nodes may differ.
//
// All times given to it must come from one clock. It is not safe for concurrent use.
type Windows struct {
	born   int64 // The first second that counts.
	keep   int64 // How many seconds are kept.
	forgot int64 // What lies before this second was dropped last.

	sources map[string]*source
	order   []*source // The sources in a fixed order, so that sums are the same each time; nil: to be made.

	// What sources that are forgotten have left behind.
	lastBusy, lastUnknown int64
}

// Averages is the load of a revision over windows that end at End.
type Averages struct {
	Stable  float64
	Panic   float64
	Partial bool // A source has not reported some second of a window.
	Sampled bool // Not every source was read: of some, the mean of others stands in.

	// Share of the sources' seconds in a window that are known; 0 without any source.
	Coverage, PanicCoverage float64

	End        time.Time     // When the last second of the windows is over.
	LastActive time.Time     // When the last second with a request began; zero if none is known of.
	Idle       time.Duration // For how long before End, by complete data, there was no request.
}

// never is a second before all others.
const never = math.MinInt64

// NewWindows measures a revision that exists since born, over windows no longer than keep.
func NewWindows(born time.Time, keep time.Duration) *Windows {
	w := &Windows{born: born.Unix(), sources: map[string]*source{}, lastBusy: never, lastUnknown: never}
	w.Keep(keep)
	return w
}

// Keep sets the length of the longest window. Seconds that were dropped before
// are unknown until a source is read from them on again.
func (w *Windows) Keep(window time.Duration) { w.keep = wholeSeconds(window) }

// SourceUp tells that a source may have load since a time; what it does not
// report from then on is unknown. Telling it again does nothing, unless the
// source had ended: then it did not exist in between.
func (w *Windows) SourceUp(id string, kind wadi.SourceKind, since time.Time) {
	s := w.sources[id]
	switch {
	case s == nil:
		w.sources[id] = &source{kind: kind, start: since.Unix(), end: live, busy: never}
		w.order = nil
	case s.end != live:
		s.zeros = max(s.zeros, since.Unix())
		s.end = live
	}
}

// SourceDown tells that a source has ended: it counts zero from then on.
func (w *Windows) SourceDown(id string, at time.Time) {
	if s := w.sources[id]; s != nil && s.end == live {
		s.finish(at.Unix())
	}
}

// OpenPoll tells that a source that has answered before was asked to tell when
// something happens. As long as it does not answer, nothing has.
func (w *Windows) OpenPoll(id string) {
	if s := w.sources[id]; s != nil {
		s.endTurn()
		s.polling = true
	}
}

// ClosePoll tells that the poll ended without an answer. The seconds that were
// over before quiet are known to be zero; the zero time stands for none: nobody
// knows whether an answer would have come through.
func (w *Windows) ClosePoll(id string, quiet time.Time) {
	s := w.sources[id]
	if s == nil {
		return
	}
	s.polling = false
	if !quiet.IsZero() {
		s.zeros = max(s.zeros, pollCertain(quiet))
		w.forget(quiet)
	}
}

// Report takes in what a source answered at a time when it was asked for its
// seconds from since on. Seconds that it leaves out are zero. An answer ends the
// source's poll.
func (w *Windows) Report(id string, since int64, st wadi.Stats, at time.Time) {
	s := w.sources[id]
	if s == nil {
		return
	}
	s.polling = false
	s.report(since, st, at)
	s.endTurn()
	w.forget(at)
}

// Averages is the load over the two windows at now, by metric.
func (w *Windows) Averages(now time.Time, stable, panicking time.Duration, m wadi.Metric) Averages {
	end := w.lastSecond(now) + 1 // The windows end before it.
	long := w.average(span64{max(w.born, end-wholeSeconds(stable)), end}, m, now)
	short := w.average(span64{max(w.born, end-wholeSeconds(panicking)), end}, m, now)
	a := Averages{
		Stable: long.mean, Panic: short.mean,
		Coverage: long.coverage, PanicCoverage: short.coverage, Partial: long.partial || short.partial,
		Sampled: long.sampled || short.sampled, End: at(now, end),
	}
	busy, unknown := w.lastBusy, max(w.lastUnknown, w.born-1)
	for _, s := range w.inOrder() {
		busy = max(busy, s.busy)
		unknown = max(unknown, s.lastUnknown(end, now))
	}
	if busy > never {
		a.LastActive = at(now, busy)
	}
	if len(w.sources) > 0 {
		a.Idle = time.Duration(max(0, end-1-max(busy, unknown))) * time.Second
	}
	return a
}

// average is what is known of one window.
type average struct {
	mean     float64 // Over its seconds.
	coverage float64 // Share of the sources' seconds in it that are known.
	partial  bool
	sampled  bool
}

func (w *Windows) average(win span64, m wadi.Metric, now time.Time) average {
	if len(w.sources) == 0 {
		return average{partial: true}
	}
	var all int64
	turns := w.extrapolate(win, m, now)
	total, unknown := turns.sum, turns.unknown
	for _, s := range w.inOrder() {
		total += s.sum(win, m)
		unknown += s.unknown(win, now)
		all += s.life(win).len()
	}
	a := average{coverage: 1, partial: unknown > 0, sampled: turns.sampled}
	if all > 0 {
		a.coverage = float64(all-unknown) / float64(all)
	}
	if n := win.len(); n > 0 {
		a.mean = micro(total / float64(n))
	}
	return a
}

func (w *Windows) inOrder() []*source {
	if w.order == nil {
		for _, id := range slices.Sorted(maps.Keys(w.sources)) {
			w.order = append(w.order, w.sources[id])
		}
	}
	return w.order
}

// maxAge is how old the end of a window may be, in seconds.
const maxAge = 2

// lastSecond is the last whole second, at most maxAge old, that every live source
// has reported, or of those that take turns enough have. Sources that are later
// than that are not waited for.
func (w *Windows) lastSecond(now time.Time) int64 {
	last := now.Unix() - 1
	oldest := last - maxAge
	if now.Nanosecond() > 0 {
		oldest++
	}
	end := last
	for _, s := range w.inOrder() {
		if reported := s.through(now) - 1; s.end == live && !s.deferred(now) && reported >= oldest {
			end = min(end, reported)
		}
	}
	return w.lastInTurn(oldest, end, now)
}

// forget drops what no window reaches back to.
func (w *Windows) forget(now time.Time) {
	before := now.Unix() - w.keep - slack
	if before == w.forgot {
		return
	}
	w.forgot = before
	for id, s := range w.sources {
		s.prune(before)
		if s.end != live && s.end < before {
			w.lastBusy = max(w.lastBusy, s.busy)
			w.lastUnknown = max(w.lastUnknown, s.lastGap())
			delete(w.sources, id)
			w.order = nil
		}
	}
}

// at is the time when a second begins, by the clock that now was read from.
func at(now time.Time, second int64) time.Time {
	return now.Add(time.Duration(second-now.Unix())*time.Second - time.Duration(now.Nanosecond()))
}

func wholeSeconds(d time.Duration) int64 {
	return int64((d + time.Second - 1) / time.Second)
}

// micro rounds to six decimals, so that a steady load just at the target is not
// more than the target.
func micro(v float64) float64 {
	if math.Abs(v) > 1e9 {
		return v
	}
	return math.Round(v*1e6) / 1e6
}
