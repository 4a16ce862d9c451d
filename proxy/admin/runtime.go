package admin

import (
	"regexp"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// liveHeap is what the last garbage collection left: growth of it is a leak, whereas the
// memory of the process depends on when Go collects and returns memory.
var liveHeap = regexp.MustCompile(`^/gc/heap/live:bytes$`)

// Runtime are the metrics of the process and of its Go runtime, the same in both programs.
func Runtime() []prometheus.Collector {
	return []prometheus.Collector{
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.GoRuntimeMetricsRule{Matcher: liveHeap})),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	}
}
