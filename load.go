package wadi

import "math"

// MaxLoadMinutes bounds a [LoadHistory]: a day.
const MaxLoadMinutes = 24 * 60

// LoadHistory is the load of a service by minute, of the last day at most. Its lists have
// an element for each minute. A value is never changed in place.
type LoadHistory struct {
	Begin       int64     `json:"begin"`       // Unix seconds of the first minute; a multiple of 60.
	Concurrency []float64 `json:"concurrency"` // Requests in flight or waiting: the average of the minute.
	Peak        []float64 `json:"peak"`        // The highest average of one second.
	Requests    []float64 `json:"requests"`    // Requests begun in the minute; -1: its load is not known.
	PeakRate    []float64 `json:"peak_rate"`   // The most requests begun in one second.
}

// LoadMinute is the load of one minute.
type LoadMinute struct {
	Minute                                int64 // Unix time in minutes.
	Concurrency, Peak, Requests, PeakRate float64
}

// UnknownLoad is what Requests has for a minute whose load is not known.
const UnknownLoad = -1

// Minutes is the number of minutes in h.
func (h LoadHistory) Minutes() int { return len(h.Requests) }

// End is the Unix time at which h ends.
func (h LoadHistory) End() int64 { return h.Begin + 60*int64(h.Minutes()) }

// Known reports whether the lists fit together. What was stored by a future or damaged Wadi
// may not.
func (h LoadHistory) Known() bool {
	n := h.Minutes()
	return n <= MaxLoadMinutes && len(h.Concurrency) == n && len(h.Peak) == n && len(h.PeakRate) == n && h.Begin >= 0 && h.Begin%60 == 0
}

// OrEmpty is h with lists that are never nil.
func (h LoadHistory) OrEmpty() LoadHistory {
	if h.Minutes() > 0 {
		return h
	}
	return blank(h.Begin/60, 0)
}

// With is h with the minutes from one to before another, by Unix time in minutes: those in
// busy, and zero for the others. Minutes between h and from are not known. What h has of
// these minutes is replaced, but of the first one the larger load counts, as two leaders may
// each have seen a part of it; what it has of later ones is dropped, as a clock was wrong, and
// so are minutes older than a day.
func (h LoadHistory) With(from, to int64, busy []LoadMinute) LoadHistory {
	if from >= to {
		return h
	}
	begin := from
	if h.Known() && h.Minutes() > 0 {
		begin = min(begin, h.Begin/60)
	}
	begin = max(begin, to-MaxLoadMinutes)
	out := blank(begin, int(to-begin))
	if h.Known() {
		for i := range h.Requests {
			out.set(LoadMinute{h.Begin/60 + int64(i), h.Concurrency[i], h.Peak[i], h.Requests[i], h.PeakRate[i]})
		}
	}
	first := out.minute(from)
	for m := max(from, begin); m < to; m++ {
		out.set(LoadMinute{Minute: m})
	}
	for _, b := range busy {
		if b.Minute >= from && b.Minute < to {
			out.set(b)
		}
	}
	out.set(out.minute(from).or(first))
	return out
}

// minute is a minute of h; one that is not known if it is outside of h.
func (h LoadHistory) minute(m int64) LoadMinute {
	i := m - h.Begin/60
	if i < 0 || i >= int64(h.Minutes()) {
		return LoadMinute{Minute: m, Requests: UnknownLoad}
	}
	return LoadMinute{m, h.Concurrency[i], h.Peak[i], h.Requests[i], h.PeakRate[i]}
}

// or is the larger load of two for the same minute.
func (m LoadMinute) or(o LoadMinute) LoadMinute {
	m.Concurrency, m.Peak = max(m.Concurrency, o.Concurrency), max(m.Peak, o.Peak)
	m.Requests, m.PeakRate = max(m.Requests, o.Requests), max(m.PeakRate, o.PeakRate)
	return m
}

// blank is a history of minutes that are not known.
func blank(begin int64, n int) LoadHistory {
	h := LoadHistory{
		Begin: begin * 60, Concurrency: make([]float64, n), Peak: make([]float64, n), Requests: make([]float64, n), PeakRate: make([]float64, n),
	}
	for i := range h.Requests {
		h.Requests[i] = UnknownLoad
	}
	return h
}

// set sets a minute, unless it is outside of h.
func (h LoadHistory) set(m LoadMinute) {
	i := m.Minute - h.Begin/60
	if i < 0 || i >= int64(h.Minutes()) {
		return
	}
	h.Concurrency[i], h.Peak[i] = thousandths(m.Concurrency), thousandths(m.Peak)
	h.Requests[i], h.PeakRate[i] = thousandths(m.Requests), thousandths(m.PeakRate)
}

// thousandths is a number with three decimals, as more would only take space.
func thousandths(v float64) float64 { return math.Round(v*1000) / 1000 }
