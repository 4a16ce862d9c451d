package queue

import "testing"

// The bounds follow the task's memory, and there are always bounds.
func TestBoundsForMemory(t *testing.T) {
	for mib, want := range map[int][2]int{0: {1000, 375}, 1: {64, 64}, 32: {256, 102}, 64: {938, 375}, 128: {2304, 921}, 100_000: {10_000, 4096}} {
		if got := [2]int{maxInFlightFor(mib), maxHTTP2For(mib)}; got != want {
			t.Errorf("%d MiB: %v, want %v", mib, got, want)
		}
	}
}
