package admin_test

import (
	"runtime"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi/proxy/admin"
)

// The soak judges by these.
func TestRuntime_HasWhatShowsALeak(t *testing.T) {
	runtime.GC() // Before the first one there is no live heap.
	reg := prometheus.NewRegistry()
	reg.MustRegister(admin.Runtime()...)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		got[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
	}
	for _, name := range []string{"go_gc_heap_live_bytes", "go_goroutines", "process_resident_memory_bytes", "process_open_fds"} {
		if got[name] <= 0 {
			t.Errorf("%s is %g, want more than 0", name, got[name])
		}
	}
}
