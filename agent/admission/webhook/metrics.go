package webhook

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts the questions to webhooks. Make it with NewMetrics; nil counts nothing.
type Metrics struct {
	duration *prometheus.HistogramVec
}

// NewMetrics registers the metrics. Their label webhook has the names in the configuration.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "wadi_admission_webhook_seconds",
		Help:    "Duration of questions to admission webhooks, by what came of them: allowed, changed, refused or failed.",
		Buckets: []float64{.005, .02, .1, .5, 2, 10},
	}, []string{"webhook", "outcome"})}
	r.MustRegister(m.duration)
	return m
}

func (m *Metrics) observe(name string, a Answer, err error, took time.Duration) {
	if m == nil {
		return
	}
	outcome := "allowed"
	switch {
	case err != nil:
		outcome = "failed"
	case !a.Allowed:
		outcome = "refused"
	case a.Changed:
		outcome = "changed"
	}
	m.duration.WithLabelValues(name, outcome).Observe(took.Seconds())
}
