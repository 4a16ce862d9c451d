package queue

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/stats"
)

// outcomeMetrics are the outcomes of the revision's requests for Prometheus, by the recorder's
// counters: a request costs nothing more.
type outcomeMetrics struct {
	recorder          *stats.Recorder
	service, revision string
	responses, starts *prometheus.Desc
}

// startBounds are the bounds of the histogram. Each is one of [wadi.LatencyBounds], so that no
// count is a guess.
var startBounds = [...]time.Duration{
	5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute,
}

func newOutcomeMetrics(p *Proxy) *outcomeMetrics {
	labels := []string{"service", "revision"}
	return &outcomeMetrics{
		recorder: p.recorder, service: p.cfg.Service, revision: p.cfg.Revision,
		responses: prometheus.NewDesc("wadi_queue_responses_total",
			"What callers of the revision got, by class: a gRPC call that HTTP answered with 200 by its own status, 499 if the caller left before an answer began.",
			append(labels, "class"), nil),
		starts: prometheus.NewDesc("wadi_queue_response_start_duration_seconds",
			"From a request's arrival at the instance to the beginning of its answer, or until its caller left.", labels, nil),
	}
}

// Describe implements prometheus.Collector.
func (m *outcomeMetrics) Describe(out chan<- *prometheus.Desc) {
	out <- m.responses
	out <- m.starts
}

// Collect implements prometheus.Collector.
func (m *outcomeMetrics) Collect(out chan<- prometheus.Metric) {
	o, waited := m.recorder.Outcomes()
	classes := map[string]uint64{"1xx": 0, "2xx": 0, "3xx": 0, "4xx": 0, "5xx": 0, wadi.CodeCallerGone: 0, "grpc_ok": 0, "grpc_error": 0}
	for code, n := range o.Codes {
		classes[outcomeClass(code)] += n
	}
	for class, n := range classes {
		out <- prometheus.MustNewConstMetric(m.responses, prometheus.CounterValue, float64(n), m.service, m.revision, class)
	}
	out <- prometheus.MustNewConstHistogram(m.starts, o.Latency.Count(), waited.Seconds(), cumulative(o.Latency), m.service, m.revision)
}

// outcomeClass is the class of a code: there are eight.
func outcomeClass(code string) string {
	switch {
	case code == "grpc:0":
		return "grpc_ok"
	case strings.HasPrefix(code, "grpc:"):
		return "grpc_error"
	case code == wadi.CodeCallerGone:
		return code
	}
	return code[:1] + "xx"
}

// cumulative counts the latencies up to each bound.
func cumulative(l wadi.Latencies) map[float64]uint64 {
	buckets := make(map[float64]uint64, len(startBounds))
	sum, next := uint64(0), 0
	for i, bound := range wadi.LatencyBounds() {
		if i < len(l) {
			sum += l[i]
		}
		if next < len(startBounds) && bound == startBounds[next] {
			buckets[bound.Seconds()] = sum
			next++
		}
	}
	return buckets
}
