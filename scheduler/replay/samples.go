package replay

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// windows measures as the agent does: one source tells what happened in its
// seconds. A second that it leaves out is zero, a second that it tells again is
// what it says last, and seconds before the start count only if it tells of them.
type windows struct {
	born    int64 // The first second that counts.
	told    int64 // The seconds before it were reported.
	history map[int64]float64
	w       *scheduler.Windows
}

// source is the one source's name.
const source = "samples"

func newWindows(start float64) windows {
	w := windows{born: int64(math.Floor(start)), history: map[int64]float64{}}
	w.restart()
	return w
}

// restart begins to measure at born, with nothing told.
func (w *windows) restart() {
	w.w = scheduler.NewWindows(second(w.born), maxWindow*time.Second)
	w.w.SourceUp(source, wadi.SourceActivator, second(w.born))
	w.told = w.born
}

// read takes in samples and averages over the whole seconds before t.
func (w *windows) read(samples []sample, t float64, s scheduler.Settings) (stable, panicking float64) {
	now, from := int64(math.Floor(t)), w.told
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
		w.told = now
	}
	a := w.w.Averages(second(now), s.StableWindow, s.PanicWindow, wadi.Concurrency)
	return a.Stable, a.Panic
}

func second(n int64) time.Time { return time.Unix(n, 0).UTC() }
