package main

import "testing"

func TestMemoryLimit(t *testing.T) {
	for mib, want := range map[string]int64{"64": 64 << 20 / 100 * 85, "": 0, "x": 0, "-1": 0, "0": 0} {
		if got := memoryLimit(mib); got != want {
			t.Errorf("%q MiB: got %d, want %d", mib, got, want)
		}
	}
}
