package scheduler_test

import (
	"math"
	"testing"
)

// The load of single seconds adds up to what the windows average, whatever the sources are.
func TestSecond(t *testing.T) {
	w := windows("i1", "i2", "a1")
	w.Report("i1", 0, stats(100, busy(40, 100, 3, 1)...), at(100.1))
	w.Report("i2", 0, stats(100, busy(70, 100, 2, 0)...), at(100.1))
	w.Report("a1", 0, stats(100, busy(40, 100, 5, 0)...), at(100.1))
	var concurrency, begun float64
	for s := int64(40); s < 100; s++ {
		c, b := w.Second(at(0).Unix()+s, at(100.2))
		concurrency, begun = concurrency+c, begun+b
	}
	if got := averages(w, 100.2); math.Abs(got.Stable-concurrency/60) > 1e-6 || math.Abs(begun-2*concurrency) > 1e-6 {
		t.Errorf("%v a second on average, the window has %v; %v begun", concurrency/60, got.Stable, begun)
	}
	for second, want := range map[int64]float64{39: 0, 40: 7, 69: 7, 70: 9, 99: 9, 100: 0, -5000: 0, 1 << 40: 0} {
		if c, _ := w.Second(at(0).Unix()+second, at(100.2)); c != want {
			t.Errorf("second %d has %v, want %v", second, c, want)
		}
	}
}

// Instances that are read in turn are estimated by the mean of the others.
func TestSecond_Sampled(t *testing.T) {
	w := inTurns(300, 100, func(int) float64 { return 2 })
	if c, b := w.Second(at(0).Unix()+102, at(103.2)); c != 600 || b != 1200 {
		t.Errorf("second 102 has %v, %v begun; want 600 and 1200", c, b)
	}
	if c, _ := w.Second(at(0).Unix()+50, at(103.2)); c != 600 {
		t.Errorf("second 50 has %v, want 600", c)
	}
}
