package scheduler

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/wadi-run/wadi"
)

// Windows measures one revision: it keeps the per-second reports of the revision's sources
// and averages them. Each source counts its own seconds; they are mapped to the reader's
// seconds, so the clocks of nodes may differ.
//
// All times passed to it must come from one clock. It is not safe for concurrent use.
type Windows struct {
	born       int64 // The first second that counts.
	keep       int64 // How many seconds are kept.
	forgot     int64 // Seconds before it were dropped.
	lastTime   int64 // The second of the last call with a time; never: none yet.
	newSources bool  // A source was added whose start was not compared with the time yet.

	sources []source // Sorted by ID, so that sums are the same each time; values, as all are read together.

	// Of sources that are forgotten.
	lastBusy, lastUnknown int64
}

// Averages is the load of a revision over windows that end at End.
type Averages struct {
	Stable      float64
	Panic       float64
	Partial     bool // A source has not reported some second of a window, or is not known: see Unseen.
	Unaccounted bool // Instances got more through activators than the known activators report.
	AtLeast     bool // Missing data can only add load: a raise is safe.
	Sampled     bool // Not every source was read: the mean of others stands in for some.

	// Share of the sources' seconds in a window that are known; 0 without a source.
	Coverage, PanicCoverage float64

	// Share of the sources' seconds that are lost: processes ended without reporting them.
	Lost, PanicLost float64

	End        time.Time     // When the last second of the windows is over.
	LastActive time.Time     // When the last second with a request began; zero: none is known.
	Idle       time.Duration // How long before End there was no request, by complete data.
}

// never is a second before all others.
const never = math.MinInt64

// NewWindows measures a revision that exists since born, over windows no longer than keep.
func NewWindows(born time.Time, keep time.Duration) *Windows {
	w := &Windows{born: born.Unix(), lastBusy: never, lastUnknown: never, lastTime: never}
	w.Keep(keep)
	return w
}

// Keep sets the length of the longest window. Seconds that were dropped before are unknown
// until a source reports them again.
func (w *Windows) Keep(window time.Duration) { w.keep = wholeSeconds(window) }

// SourceUp adds a source that may have load since a time; seconds after that are unknown
// until it reports them. Adding it again does nothing, unless the source had ended: then
// it did not exist in between.
func (w *Windows) SourceUp(id string, kind wadi.SourceKind, since time.Time) {
	i, known := w.index(id)
	w.newSources = true
	if !known {
		w.sources = slices.Insert(w.sources, i, source{id: id, kind: kind, start: since.Unix(), seen: live, end: live, busy: never})
		return
	}
	if s := &w.sources[i]; s.end != live {
		s.zeros = max(s.zeros, since.Unix())
		s.end = live
	}
}

// SourceSeen records since when a source is known to exist, in any of its processes. If
// its current process began later, the load of the process before is lost.
func (w *Windows) SourceSeen(id string, since time.Time) {
	if s := w.source(id); s != nil && s.boot == "" {
		s.seen = min(s.seen, since.Unix())
	}
}

// index is a source's position, or where it would be inserted.
func (w *Windows) index(id string) (i int, known bool) {
	return slices.BinarySearchFunc(w.sources, id, func(s source, id string) int { return strings.Compare(s.id, id) })
}

// source finds a source; nil: it is not known. The pointer is valid until a source is
// added or removed.
func (w *Windows) source(id string) *source {
	if i, known := w.index(id); known {
		return &w.sources[i]
	}
	return nil
}

// SourceDown ends a source: it counts zero from then on.
func (w *Windows) SourceDown(id string, at time.Time) {
	if s := w.source(id); s != nil && s.end == live {
		s.finish(at.Unix())
	}
}

// OpenPoll records that a source that has reported before is being long-polled: it answers
// when something happens. Until it answers, its load is zero.
func (w *Windows) OpenPoll(id string) {
	if s := w.source(id); s != nil {
		s.endSampling()
		s.polling = true
	}
}

// ClosePoll records that the poll ended without an answer. The seconds before quiet are
// known to be zero. A zero quiet means none are: an answer may have been lost.
func (w *Windows) ClosePoll(id string, quiet time.Time) {
	s := w.source(id)
	if s == nil {
		return
	}
	s.polling = false
	if !quiet.IsZero() {
		s.zeros = max(s.zeros, pollCertain(quiet))
		w.forget(quiet)
	}
}

// Report records a source's answer at a time, for its seconds from since on. Seconds that
// it leaves out are zero. An answer ends the source's poll.
func (w *Windows) Report(id string, since int64, st wadi.Stats, at time.Time) {
	s := w.source(id)
	if s == nil {
		return
	}
	w.observeTime(at)
	s.polling = false
	s.report(since, st, at)
	s.endSampling()
	w.forget(at)
}

// Averages is the load of a metric over the two windows at now.
func (w *Windows) Averages(now time.Time, stable, panicking time.Duration, m wadi.Metric) Averages {
	w.observeTime(now)
	last, inTurn := w.lastSecond(now)
	end := last + 1 // The windows end before it.
	long := window{span64: span64{max(w.born, end-wholeSeconds(stable)), end}}
	short := window{span64: span64{max(w.born, end-wholeSeconds(panicking)), end}}
	if inTurn {
		long.extrapolation = w.extrapolate(long.span64, m, now)
		short.extrapolation = w.extrapolate(short.span64, m, now)
	}
	busy, unknown := w.lastBusy, max(w.lastUnknown, w.born-1)
	for i := range w.sources {
		s := &w.sources[i]
		through := s.through(now)
		s.sum(&long, &short)
		s.count(&long, through, now)
		s.count(&short, through, now)
		busy = max(busy, s.busy)
		unknown = max(unknown, s.lastUnknown(end, through))
	}
	a := Averages{
		Stable: long.mean(m), Panic: short.mean(m), Partial: long.unknown > 0 || short.unknown > 0,
		Sampled: long.sampled || short.sampled, End: at(now, end),
	}
	if busy > never {
		a.LastActive = at(now, busy)
	}
	if len(w.sources) == 0 {
		a.Partial = true
		return a
	}
	a.Unaccounted = long.unaccounted() || short.unaccounted()
	a.Partial = a.Partial || a.Unaccounted
	a.Coverage, a.PanicCoverage = long.coverage(), short.coverage()
	a.Lost, a.PanicLost = long.lostShare(), short.lostShare()
	a.Idle = time.Duration(max(0, end-1-max(busy, unknown))) * time.Second
	return a
}

// maxAge is how old the end of a window may be, in seconds.
const maxAge = 2

// lastSecond is the last whole second, at most maxAge old, that every live source has
// reported; of the sampled sources, enough of them. Sources that are later than that are
// not waited for. inTurn reports whether any source is sampled.
func (w *Windows) lastSecond(now time.Time) (second int64, inTurn bool) {
	last := now.Unix() - 1
	oldest := last - maxAge
	if now.Nanosecond() > 0 {
		oldest++
	}
	end := last
	for i := range w.sources {
		s := &w.sources[i]
		inTurn = inTurn || !s.due.IsZero()
		if reported := s.through(now) - 1; s.end == live && !s.deferred(now) && reported >= oldest {
			end = min(end, reported)
		}
	}
	if inTurn {
		end = w.lastSampled(oldest, end, now)
	}
	return end, inTurn
}

// forget drops what no window reaches.
func (w *Windows) forget(now time.Time) {
	before := now.Unix() - w.keep - slack
	if before == w.forgot {
		return
	}
	w.forgot = before
	kept := w.sources[:0]
	for i := range w.sources {
		s := &w.sources[i]
		s.prune(before)
		if s.end == live || s.end >= before {
			kept = append(kept, *s)
			continue
		}
		w.lastBusy = max(w.lastBusy, s.busy)
		w.lastUnknown = max(w.lastUnknown, s.lastGap())
	}
	clear(w.sources[len(kept):])
	w.sources = kept
}

// at is the time when a second begins, by the clock of now.
func at(now time.Time, second int64) time.Time {
	return now.Add(time.Duration(second-now.Unix())*time.Second - time.Duration(now.Nanosecond()))
}

func wholeSeconds(d time.Duration) int64 {
	return int64((d + time.Second - 1) / time.Second)
}

// micro rounds to six decimals, so a steady load exactly at the target is not more than
// the target.
func micro(v float64) float64 {
	if math.Abs(v) > 1e9 {
		return v
	}
	return math.Round(v*1e6) / 1e6
}
