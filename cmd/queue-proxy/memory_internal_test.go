package main

import (
	"runtime"
	"slices"
	"testing"
	"time"
)

func TestMemoryLimit(t *testing.T) {
	for mib, want := range map[string]int64{"64": 64 << 20 / 100 * 85, "": 0, "x": 0, "-1": 0, "0": 0} {
		if got := memoryLimit(mib); got != want {
			t.Errorf("%q MiB: got %d, want %d", mib, got, want)
		}
	}
}

func TestPercentFor(t *testing.T) {
	for live, want := range map[uint64]int{0: 400, 2 << 20: 400, 8 << 20: 200, 16 << 20: 100, 1 << 30: 25} {
		if got := percentFor(live); got != want {
			t.Errorf("%d bytes: got %d %%, want %d %%", live, got, want)
		}
	}
}

func TestTuner_SetsWhatIsWorthIt(t *testing.T) {
	var got []int
	tuner := &tuner{percent: maxPercent, set: func(percent int) { got = append(got, percent) }}
	for _, live := range []uint64{1 << 20, 15 << 20, 16 << 20, 17 << 20, 100 << 20, 1 << 20} {
		tuner.collected(live)
	}
	if want := []int{106, 25, 400}; !slices.Equal(got, want) {
		t.Errorf("set %v, want %v", got, want)
	}
}

// The tuner is called after each run of the collector.
func TestTuner_HearsOfEachRun(t *testing.T) {
	heard := make(chan int)
	tuner := &tuner{percent: 1}
	tuner.set = func(percent int) {
		tuner.percent = 1 // So that the next change is big enough.
		heard <- percent
	}
	tuner.arm()
	for range 3 {
		for told := false; !told; { // The next run may come too soon.
			runtime.GC()
			select {
			case <-heard:
				told = true
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	go func() {
		for range heard { // The last receive lets the finalizers go on.
		}
	}()
}
