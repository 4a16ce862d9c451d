package scheduler_test

import (
	"math/rand/v2"
	"testing"
)

// Sources count seconds; their time of day does not matter. Their seconds
// stay where they are, however long a report takes.
func TestWindows_OffsetIsStable(t *testing.T) {
	w := windows("i1")
	rng := rand.New(rand.NewPCG(1, 2))
	const start = 1000.3 // When its second 0 began, by the reader's clock.
	next := int64(0)
	for n := int64(1); n < 200; n++ {
		late := rng.Float64() * 0.4
		if n%17 == 0 {
			late = 1.9 // A slow answer.
		}
		w.Report("i1", next, stats(n, busy(next, n, float64(n), 0)...), at(start+float64(n)+late))
		next = n
		if n < 70 || n%17 == 0 {
			continue
		}
		now := start + float64(n) + 0.6
		got := averages(w, now)
		// 60 seconds in a row, each once: the mean is that of the first and the last.
		last := float64(n)
		if d := got.Stable - (last - 29.5); got.Partial || (d != 0 && d != -1) {
			t.Fatalf("at %g: %+v, want the mean of the 60 seconds to %g", now, got, last)
		}
	}
}

// One slow answer moves nothing, also when it is the first for a while.
func TestWindows_OffsetOutlastsASlowAnswer(t *testing.T) {
	w := windows("i1")
	for n := int64(1); n < 60; n++ {
		w.Report("i1", n-1, stats(n, busy(n-1, n, 6, 0)...), at(float64(n)+0.1))
	}
	w.Report("i1", 59, stats(60, busy(59, 60, 6, 0)...), at(61.9))
	want(t, averages(w, 61.95), 6, 6, 1, false, 60)
}

// After a pause of its machine a source's seconds are late, but not for long.
func TestWindows_OffsetFollowsAPausedSource(t *testing.T) {
	w := windows("i1")
	n := int64(0)
	for s := 1.0; s <= 100; s++ {
		n++
		w.Report("i1", n-1, stats(n, busy(n-1, n, 6, 0)...), at(s+0.1))
	}
	for s := 131.0; s <= 300; s++ { // 30 seconds later, it counts on.
		n++
		w.Report("i1", n-1, stats(n, busy(n-1, n, 6, 0)...), at(s+0.1))
	}
	want(t, averages(w, 300.2), 6, 6, 1, false, 300)
}
