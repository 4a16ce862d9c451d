package gate

import (
	"math"
	"testing"
)

// The limits are those of published tables (R's binom.test, one-sided).
func TestShare_ExactLimits(t *testing.T) {
	for _, tt := range []struct {
		s            share
		chance       float64
		lower, upper float64
	}{
		{share{0, 20}, 0.05, 0, 0.139108},
		{share{5, 50}, 0.025, 0.033275, 0.218135},
		{share{50, 50}, 0.05, 0.941845, 1},
		{share{0, 299}, 0.05, 0, 0.009969},
		{share{10, 1000}, 0.025, 0.004805, 0.018314},
	} {
		if got := tt.s.lower(tt.chance); math.Abs(got-tt.lower) > 2e-6 {
			t.Errorf("lower limit of %v: %.6f, want %.6f", tt.s, got, tt.lower)
		}
		if got := tt.s.upper(tt.chance); math.Abs(got-tt.upper) > 2e-6 {
			t.Errorf("upper limit of %v: %.6f, want %.6f", tt.s, got, tt.upper)
		}
	}
}

// Any numbers have limits around their share, and the normal approximation continues the
// exact ones.
func TestShare_LimitsOfAnySize(t *testing.T) {
	for _, of := range []uint64{1, 7, 1000, 1e6, 1e9, 1e15} {
		for _, n := range []uint64{0, 1, of / 1000, of / 3, of - 1, of} {
			s := share{n, of}
			low, high := s.lower(backError), s.upper(backError)
			if !(low >= 0 && low <= s.part()+1e-12 && high >= s.part()-1e-12 && high <= 1) {
				t.Errorf("%v: %g to %g", s, low, high)
			}
		}
	}
	exact, normal := share{2000, 90000}, share{2001, 90000}
	if a, b := exact.upper(backError), normal.upper(backError); math.Abs(a-b)/a > 0.002 {
		t.Errorf("%g exactly, %g by approximation", a, b)
	}
	if a, b := exact.lower(backError), normal.lower(backError); math.Abs(a-b)/a > 0.002 {
		t.Errorf("%g exactly, %g by approximation", a, b)
	}
}
