package simulate_test

import (
	"math"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler/simulate"
)

// day is a history of a whole day with the same load in each minute that busy accepts.
func day(busy func(minute int) bool, concurrency, requests, most float64) wadi.LoadHistory {
	var all []wadi.LoadMinute
	for m := range wadi.MaxLoadMinutes {
		if busy(m) {
			all = append(all, wadi.LoadMinute{Minute: int64(m), Concurrency: concurrency, Peak: 2 * concurrency, Requests: requests, PeakRate: most})
		}
	}
	return wadi.LoadHistory{}.With(0, wadi.MaxLoadMinutes, all)
}

func forecast(t *testing.T, h wadi.LoadHistory, s wadi.Scaling) simulate.Totals {
	t.Helper()
	rule, err := simulate.NewWadi(s, 10, 100)
	if err != nil {
		t.Fatal(err)
	}
	trace := simulate.OfHistory(h).Fill(wadi.Queue{Depth: 1000, Timeout: wadi.Duration(time.Minute)})
	return simulate.Run(trace, rule, time.Hour, func(simulate.Row) {})
}

func TestX(t *testing.T) {
	s := wadi.Scaling{Initial: 1, Activation: 1, Window: wadi.Duration(time.Minute), PanicWindowPercent: 10, PanicThresholdPercent: 200, MaxUpRate: 1000, MaxDownRate: 2}
	began := time.Now()
	t.Logf("idle %+v %s", forecast(t, day(func(int) bool { return false }, 0, 0, 0), s), time.Since(began))
	began = time.Now()
	t.Logf("sparse %+v %s", forecast(t, day(func(m int) bool { return m%30 == 0 }, .5, 100, 10), s), time.Since(began))
	began = time.Now()
	t.Logf("busy %+v %s", forecast(t, day(func(int) bool { return true }, 100, 60000, 2000), s), time.Since(began))
	_ = math.Pi
}
