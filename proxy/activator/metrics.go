package activator

import (
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	waiting   prometheus.Gauge
	inFlight  prometheus.Gauge
	requests  *prometheus.CounterVec // By service and class.
	refusals  *prometheus.CounterVec // By reason.
	retries   prometheus.Counter
	wakes     *prometheus.CounterVec // By result.
	coldStart prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "wadi_activator_waiting_requests", Help: "Requests that wait for an instance.",
		}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "wadi_activator_in_flight_requests", Help: "Requests that are forwarded to an instance.",
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wadi_activator_requests_total", Help: "Requests answered, by service and class of the status.",
		}, []string{"service", "class"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wadi_activator_refusals_total", Help: "Requests that Wadi answered itself, by reason.",
		}, []string{"reason"}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wadi_activator_retries_total", Help: "Requests that were sent to a second instance.",
		}),
		wakes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wadi_activator_wakes_total", Help: "Wakes of revisions, by result.",
		}, []string{"result"}),
		coldStart: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wadi_activator_cold_start_seconds", Help: "From the first waiting request to a ready instance.",
			Buckets: []float64{.05, .1, .2, .3, .5, .75, 1, 1.5, 2, 3, 5, 10, 20, 30, 60, 120},
		}),
	}
	reg.MustRegister(m.waiting, m.inFlight, m.requests, m.refusals, m.retries, m.wakes, m.coldStart)
	return m
}

// forget drops what is kept of a service that is no longer served.
func (m *metrics) forget(service string) {
	m.requests.DeletePartialMatch(prometheus.Labels{"service": service})
}
