package replay

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// windows measures as the agent does, with one source. A second that the samples leave out
// is zero; of a repeated second the last value counts; seconds before the start count only
// if they are named.
type windows struct {
	born     int64 // The first second that counts.
	reported int64 // The seconds before it were reported.
	history  map[int64]float64
	w        *scheduler.Windows
}

// source is the name of the only source.
const source = "samples"

func newWindows(start float64) windows {
	w := windows{born: int64(math.Floor(start)), history: map[int64]float64{}}
	w.restart()
	return w
}

// restart measures from born on, with no reports.
func (w *windows) restart() {
	w.w = scheduler.NewWindows(second(w.born), maxWindow*time.Second)
	w.w.SourceUp(source, wadi.SourceActivator, second(w.born))
	w.reported = w.born
}

// read records samples, and averages over the whole seconds before t.
func (w *windows) read(samples []sample, t float64, s scheduler.Settings) (stable, panicking float64) {
	now, from := int64(math.Floor(t)), w.reported
	for _, sm := range samples {
		n := int64(*sm.Second)
		w.history[n] = sm.Concurrency
		from = min(from, n)
	}
	if from < w.born {
		w.born = from
		w.restart()
	}
	var list []wadi.Sample
	for _, n := range slices.Sorted(maps.Keys(w.history)) {
		switch {
		case n < now-maxWindow:
			delete(w.history, n)
		case n >= from && n < now:
			list = append(list, wadi.Sample{N: n - w.born, Concurrency: w.history[n]})
		}
	}
	if now > w.born {
		w.w.Report(source, from-w.born, wadi.Stats{Source: source, Boot: source, Now: now - w.born, Samples: list}, second(now))
		w.reported = now
	}
	a := w.w.Averages(second(now), s.StableWindow, s.PanicWindow, wadi.Concurrency)
	return a.Stable, a.Panic
}

func second(n int64) time.Time { return time.Unix(n, 0).UTC() }
