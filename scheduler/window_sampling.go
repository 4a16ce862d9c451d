package scheduler

import (
	"time"

	"github.com/wadi-run/wadi"
)

// minSampled is how many of the sources that are read in turn must have told of
// a second before their mean stands for that of the others.
const minSampled = 20

// Defer tells that an instance that has load is read next at a time: there are too
// many for all to be read all the time. From its last report until then what it
// has is taken from the mean of those that are read in turn like it. That mean is
// over the seconds of others' turns only, so who takes turns must not be chosen by
// the load to come. An instance that is late by more than what is allowed to each
// is unknown. A report, an open poll and the instance's end end the turn.
func (w *Windows) Defer(id string, due time.Time) {
	s := w.source(id)
	if s == nil || s.kind != wadi.SourceInstance || s.end != live || s.boot == "" {
		return
	}
	s.polling, s.due = false, due
	from := s.reported()
	if n := len(s.sampling); n > 0 && s.sampling[n-1].to >= from-1 { // Offsets differ by a second.
		s.sampling[n-1].to = live
		return
	}
	s.sampling = append(s.sampling, span64{from, live})
}

// endSampling ends a turn, where the source's reports do.
func (s *source) endSampling() {
	if s.due.IsZero() {
		return
	}
	s.due = time.Time{}
	last := &s.sampling[len(s.sampling)-1]
	last.to = max(last.from, s.reported())
}

// deferred reports whether the source's turn is still to come.
func (s *source) deferred(now time.Time) bool {
	return !s.due.IsZero() && s.end == live && !now.After(s.due.Add(maxAge*time.Second))
}

// extrapolation is what the sources that are not yet due add to a window.
type extrapolation struct {
	sum     float64
	unknown int64 // Seconds of sources of which too few others have told.
	sampled bool
}

// sampledSecond is what is known of one second of the sources that take turns.
type sampledSecond struct {
	reported, pending int64   // Sources that have told of it, and that are not yet due.
	sum               float64 // Of those that have told.
}

// extrapolate adds to each second, for those that are not yet due in their turn,
// the mean of those in turn that have told of it.
func (w *Windows) extrapolate(win span64, m wadi.Metric, now time.Time) (e extrapolation) {
	tail := span64{win.to, win.to} // Before it, all have told.
	for i := range w.sources {
		s := &w.sources[i]
		if s.deferred(now) {
			tail.from = min(tail.from, max(win.from, s.reported()))
		}
	}
	if tail.len() == 0 {
		return e
	}
	seconds := make([]sampledSecond, tail.len())
	for i := range w.sources {
		s := &w.sources[i]
		s.sumSampled(seconds, tail, m, now)
	}
	for _, t := range seconds {
		switch {
		case t.pending == 0:
		case t.reported < minSampled:
			e.unknown += t.pending
		default:
			e.sum += t.sum / float64(t.reported) * float64(t.pending)
			e.sampled = true
		}
	}
	return e
}

// sumSampled adds the source to the seconds of a window in which it takes turns.
func (s *source) sumSampled(seconds []sampledSecond, win span64, m wadi.Metric, now time.Time) {
	for _, turn := range s.sampling {
		in := s.life(win).and(turn)
		for n := in.from; n < in.to; n++ {
			t := &seconds[n-win.from]
			switch {
			case n < s.reported() && !s.lost(n):
				t.reported++
				t.sum += s.at(n, m)
			case n >= s.reported() && s.deferred(now):
				t.pending++
			}
		}
	}
}

// lost reports whether nobody has told nor will tell of a second of ours.
func (s *source) lost(n int64) bool {
	for _, g := range s.gaps {
		if g.from <= n && n < g.to {
			return true
		}
	}
	return n < s.dropped
}

// lastSampled is the last second from oldest to end of which enough of those that
// take turns have told. If there is none they are not waited for.
func (w *Windows) lastSampled(oldest, end int64, now time.Time) int64 {
	seconds := make([]sampledSecond, max(0, end-oldest+1))
	for i := range w.sources {
		s := &w.sources[i]
		if s.due.IsZero() || s.end != live {
			continue
		}
		for n := range seconds {
			if oldest+int64(n) < s.reported() {
				seconds[n].reported++
			} else if s.deferred(now) {
				seconds[n].pending++
			}
		}
	}
	for i := len(seconds) - 1; i >= 0; i-- {
		if seconds[i].pending == 0 || seconds[i].reported >= minSampled {
			return oldest + int64(i)
		}
	}
	return end
}
