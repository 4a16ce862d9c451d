package scheduler

import (
	"time"

	"github.com/wadi-run/wadi"
)

// Second is the load of one whole second, by both metrics, as far as it has been reported
// at now. A second that is no longer kept is zero.
func (w *Windows) Second(second int64, now time.Time) (concurrency, begun float64) {
	at := window{span64: span64{second, second + 1}}
	if second < w.born {
		return 0, 0
	}
	none := window{span64: span64{at.to, at.to}}
	sampled := false
	for i := range w.sources {
		s := &w.sources[i]
		sampled = sampled || !s.due.IsZero()
		s.sum(&at, &none)
	}
	if sampled {
		at.extrapolation = w.extrapolate(at.span64, wadi.Concurrency, now)
		concurrency = at.mean(wadi.Concurrency)
		at.extrapolation = w.extrapolate(at.span64, wadi.RPS, now)
		return concurrency, at.mean(wadi.RPS)
	}
	return at.mean(wadi.Concurrency), at.mean(wadi.RPS)
}
