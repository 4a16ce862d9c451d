package scheduler

import "time"

// setBackFrom is by how many seconds a clock must be set back to be noticed. Reports may
// be out of order by less, and a smaller step is over as soon.
const setBackFrom = 60

// observeTime notes the current time. Starts come from the clocks of other machines, which
// may be ahead: a start in the future becomes now, else its load would count for nothing
// until then. The local clock may be set back.
func (w *Windows) observeTime(now time.Time) {
	second := now.Unix()
	if by := w.lastTime - second; w.lastTime != never && by >= setBackFrom {
		w.setBack(by)
	}
	w.lastTime = second
	w.born = min(w.born, second)
	if !w.newSources {
		return
	}
	w.newSources = false
	for i := range w.sources {
		if s := &w.sources[i]; s.boot == "" {
			s.start, s.zeros = min(s.start, second), min(s.zeros, second)
		}
	}
}

// setBack shifts all records after the clock was set back, so that their ages stay the
// same.
func (w *Windows) setBack(by int64) {
	for _, s := range []*int64{&w.born, &w.forgot, &w.lastBusy, &w.lastUnknown} {
		shift(s, by)
	}
	for i := range w.sources {
		w.sources[i].setBack(by)
	}
}

func (s *source) setBack(by int64) {
	for _, second := range []*int64{&s.start, &s.seen, &s.end, &s.zeros, &s.busy, &s.dropped, &s.offset.last, &s.offset.cur} {
		shift(second, by)
	}
	s.offset.epoch -= by / epochSeconds
	for i := range s.past {
		s.past[i].second -= by
	}
	for _, spans := range [][]span64{s.gaps, s.sampling} {
		for i := range spans {
			shift(&spans[i].from, by)
			shift(&spans[i].to, by)
		}
	}
	if !s.due.IsZero() {
		s.due = s.due.Add(-time.Duration(by) * time.Second)
	}
}

// shift moves a second, unless it is never or live.
func shift(second *int64, by int64) {
	if *second != never && *second != live {
		*second -= by
	}
}
