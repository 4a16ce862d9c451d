package scrape

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	answers  prometheus.Counter
	failures prometheus.Counter
	sources  prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) metrics {
	m := metrics{
		answers: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wadi_scrape_answers_total", Help: "Statistics that sources answered with.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wadi_scrape_failures_total", Help: "Requests for statistics that failed, or whose answer made no sense.",
		}),
		sources: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "wadi_scrape_sources", Help: "Instances and activators that are followed.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.answers, m.failures, m.sources)
	}
	return m
}
