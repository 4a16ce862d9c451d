package scheduler

import (
	"time"

	"github.com/wadi-run/wadi"
)

// minSampled is how many of the sampled sources must have reported a second before their
// mean stands in for the others.
const minSampled = 20

// Defer schedules the next read of an instance with load: there are too many instances to
// read all of them all the time. From its last report until due, its load is taken from
// the mean of the other deferred sources. That mean covers the seconds when others were
// read, so the choice of deferred sources must not depend on their future load. An
// instance is unknown if it is later than the tolerance for each source. A report, an open
// poll or the instance's end ends the deferral.
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

// endSampling ends a deferral at the end of the source's reports.
func (s *source) endSampling() {
	if s.due.IsZero() {
		return
	}
	s.due = time.Time{}
	last := &s.sampling[len(s.sampling)-1]
	last.to = max(last.from, s.reported())
}

// deferred reports whether the source is not due yet.
func (s *source) deferred(now time.Time) bool {
	return !s.due.IsZero() && s.end == live && !now.After(s.due.Add(maxAge*time.Second))
}

// extrapolation is what deferred sources add to a window.
type extrapolation struct {
	sum     float64
	unknown int64 // Seconds of sources that too few others have reported.
	sampled bool
}

// sampledSecond is what is known of one second of the deferred sources.
type sampledSecond struct {
	reported, pending int64   // Sources that have reported it, and that are not yet due.
	sum               float64 // Of the sources that have reported it.
}

// extrapolate adds to each second, for each source that is not yet due, the mean of the
// deferred sources that have reported it.
func (w *Windows) extrapolate(win span64, m wadi.Metric, now time.Time) (e extrapolation) {
	tail := span64{win.to, win.to} // Before it, all have reported.
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

// sumSampled adds the source to the seconds of a window in which it is deferred.
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

// lost reports whether a second of the reader will never be reported.
func (s *source) lost(n int64) bool {
	for _, g := range s.gaps {
		if g.from <= n && n < g.to {
			return true
		}
	}
	return n < s.dropped
}

// lastSampled is the last second from oldest to end that enough deferred sources have
// reported. If there is none, the deferred sources are not waited for.
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
