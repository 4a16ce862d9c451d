package scheduler

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
)

// live is the end of a source that has not ended.
const live = math.MaxInt64

// slack is how many seconds more than the longest window are kept: a window ends a little
// before now.
const slack = 5

// shortGap is how many unreported seconds at the end of a source are ignored: they will
// never be reported, and the end is detected a little late.
const shortGap = 5

// maxHistory is how many seconds sources keep.
const maxHistory = 3600

// span64 is the seconds from from up to, but without, to.
type span64 struct{ from, to int64 }

func (s span64) len() int64 { return max(0, s.to-s.from) }

func (s span64) and(o span64) span64 { return span64{max(s.from, o.from), min(s.to, o.to)} }

// source is what one queue-proxy or activator reported of one revision.
type source struct {
	id    string
	kind  wadi.SourceKind
	start int64 // The first second in which it may have had load.
	seen  int64 // Since when it is known to exist, in any process; live: not known.
	end   int64 // It counts zero from this second on.

	boot   string // The process that reported last; empty before the first report.
	offset offset // From its seconds to the reader's.
	next   int64  // Its seconds before next are reported.
	loads  []load // Of this process, by its own seconds.

	past []load   // Of earlier processes, by the reader's seconds, in order.
	gaps []span64 // The reader's seconds that are lost, in order.

	dropped int64 // The reader's seconds before it are no longer kept.
	zeros   int64 // The reader's seconds before it that are not reported are zero.
	polling bool  // It answers as soon as something happens.
	busy    int64 // The reader's last second with a request.

	due      time.Time // When it is read next; zero: it is not deferred.
	sampling []span64  // The reader's seconds in which it is or was deferred, in order.
}

// report records an answer about the seconds from since on.
func (s *source) report(since int64, st wadi.Stats, at time.Time) {
	// Rounding, so that a source's seconds end at most half a second after the reader's.
	estimate := at.Add(time.Second/2).Unix() - st.Now
	if st.Boot != s.boot {
		s.restart(since, st, estimate, at.Unix())
	} else {
		s.offset.observe(estimate, at.Unix())
		s.readBack(since, st.Now)
	}
	s.splice(since, st)
	s.next = max(s.next, st.Now)
	if s.end != live {
		s.end = max(s.end, s.reported())
	}
}

// restart begins a process that has not reported before. Seconds that the last process did
// not report are lost.
func (s *source) restart(since int64, st wadi.Stats, estimate, at int64) {
	reportedTo, first := s.reported(), s.boot == ""
	for _, l := range s.loads {
		l.second += s.offset.value()
		s.past = append(s.past, l)
	}
	// By the estimated clocks, one may have begun a little before the other ended.
	slices.SortStableFunc(s.past, func(a, b load) int { return cmp.Compare(a.second, b.second) })
	s.boot, s.offset, s.loads = st.Boot, newOffset(estimate, at), nil
	s.next = max(min(since, st.Now), st.Now-maxHistory)
	began := estimate
	if first {
		reportedTo = began
		if began-s.seen > shortGap { // There was another process before.
			reportedTo = s.seen
		}
		s.start = reportedTo
	}
	known := began
	if s.next > 0 {
		known += s.next
	} else {
		s.next = 0
	}
	s.gap(reportedTo, known)
}

// readBack fills gaps with the source's seconds from since up to now.
func (s *source) readBack(since, now int64) {
	off := s.offset.value()
	if since > s.next {
		s.gap(s.next+off, since+off)
		return
	}
	from, to := since+off, now+off
	s.dropped = min(s.dropped, from)
	var left []span64
	for _, g := range s.gaps {
		if before := g.and(span64{never, from}); before.len() > 0 {
			left = append(left, before)
		}
		if after := g.and(span64{to, live}); after.len() > 0 {
			left = append(left, after)
		}
	}
	s.gaps = left
}

func (s *source) gap(from, to int64) {
	if from = max(from, s.zeros); from < to {
		s.gaps = append(s.gaps, span64{from, to})
	}
}

// splice replaces the loads from since up to the report's now.
func (s *source) splice(since int64, st wadi.Stats) {
	i := s.index(since)
	tail := append([]load(nil), s.loads[s.index(max(since, st.Now)):]...)
	s.loads = s.loads[:i]
	for _, sample := range st.Samples {
		if sample.N < since || sample.N >= st.Now {
			continue
		}
		l := load{second: sample.N, amount: amount{sample.Concurrency, sample.Begun}}
		if !l.none() {
			s.busy = max(s.busy, sample.N+s.offset.value())
		}
		if s.kind == wadi.SourceInstance { // What came through an activator is counted there.
			l.concurrency = max(0, l.concurrency-sample.ConcurrencyProxied)
			l.begun = max(0, l.begun-sample.BegunProxied)
			l.proxied = amount{sample.ConcurrencyProxied, sample.BegunProxied}
		}
		if !l.none() || !l.proxied.none() {
			s.loads = append(s.loads, l)
		}
	}
	s.loads = append(s.loads, tail...)
}

// finish ends the source at a second.
func (s *source) finish(at int64) {
	reportedTo := s.reported()
	s.endSampling()
	if s.polling {
		reportedTo = max(reportedTo, at)
	}
	s.polling = false
	s.end = reportedTo
	if at-reportedTo > shortGap {
		s.gap(reportedTo, at)
		s.end = at
	}
	s.zeros = max(s.zeros, s.end)
}

// reported is the reader's second from which on nothing is reported.
func (s *source) reported() int64 {
	reportedTo := max(s.start, s.zeros)
	if s.boot != "" {
		reportedTo = max(reportedTo, s.next+s.offset.value())
	}
	return reportedTo
}

// through is reported at now; an open poll counts as a report of zero.
func (s *source) through(now time.Time) int64 {
	if s.polling {
		return max(s.reported(), pollCertain(now))
	}
	return s.reported()
}

// pollCertain is the reader's second from which on a polled source may have load that it
// has not reported. A source reports a second when that is over, and its seconds begin up
// to one later than the reader's.
func pollCertain(at time.Time) int64 { return at.Unix() - 1 }

// life is the part of a window in which the source existed.
func (s *source) life(win span64) span64 { return win.and(span64{s.start, s.end}) }

// count adds the source's seconds in a window, and how many of them are unknown. A
// deferred source's recent seconds are not unknown.
func (s *source) count(w *window, through int64, now time.Time) {
	in := s.life(w.span64)
	unknown := int64(0)
	w.all += in.len()
	if !s.deferred(now) {
		unknown += in.and(span64{through, s.end}).len()
	}
	if s.dropped > in.from {
		unknown += in.and(span64{in.from, s.dropped}).len()
		in.from = s.dropped
	}
	lost := int64(0)
	for _, g := range s.gaps {
		lost += in.and(g).len()
	}
	w.unknown += unknown + lost
	if s.end != live {
		lost += unknown
	}
	w.lost += lost
}

// lastUnknown is the last second before end that the source has not reported.
func (s *source) lastUnknown(end, through int64) int64 {
	if min(end, s.end) > through {
		return end - 1
	}
	return s.lastGap()
}

func (s *source) lastGap() int64 {
	last := int64(never)
	for _, g := range s.gaps {
		last = max(last, g.to-1)
	}
	return last
}

// prune drops what lies before a second of the reader. The last gap stays: it bounds how
// long the source is known to be idle.
func (s *source) prune(before int64) {
	past, loads := dropLoads(s.past, before), dropLoads(s.loads, before-s.offset.value())
	if len(past) < len(s.past) || len(loads) < len(s.loads) {
		s.dropped = max(s.dropped, before)
	}
	s.past, s.loads = past, loads
	for len(s.gaps) > 1 && s.gaps[0].to <= before {
		s.gaps = s.gaps[1:]
	}
	for len(s.sampling) > 0 && s.sampling[0].to <= before {
		s.sampling = s.sampling[1:]
	}
}
