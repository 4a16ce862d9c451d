package registry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count what became of questions. Nil counts nothing.
type metrics struct {
	total   *prometheus.CounterVec
	seconds prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) *metrics {
	if r == nil {
		return nil
	}
	m := &metrics{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wadi_images_resolved_total",
			Help: "Images whose digest was asked for, by result: ok, cancelled, or the kind of the error.",
		}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "wadi_images_resolve_seconds",
			Help:    "Duration of questions to registries, with waiting for other questions and logging in.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}),
	}
	r.MustRegister(m.total, m.seconds)
	for _, result := range kinds() {
		m.total.WithLabelValues(result)
	}
	m.total.WithLabelValues(resultOK)
	m.total.WithLabelValues(resultCancelled)
	return m
}

const (
	resultOK        = "ok"
	resultCancelled = "cancelled"
)

func (m *metrics) count(err error) {
	if m == nil {
		return
	}
	m.total.WithLabelValues(resultOf(err)).Inc()
}

// asked notes how long a registry took.
func (m *metrics) asked(took time.Duration) {
	if m != nil {
		m.seconds.Observe(took.Seconds())
	}
}
