package activator

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	waiting  prometheus.Gauge
	inFlight prometheus.Gauge
	requests *prometheus.CounterVec // By service and class.
	duration *prometheus.HistogramVec
	byClass  [6]prometheus.Observer // Of duration.
	queue    prometheus.Histogram
	refusals *prometheus.CounterVec // By reason.
	retries  prometheus.Counter
	wakes    *prometheus.CounterVec   // By result.
	cold     *prometheus.HistogramVec // By phase.
}

// noClass is the class of a request whose connection broke before a status.
const noClass = 0

func className(class int) string {
	return [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}[class]
}

func classOf(status int) int {
	if status < 100 || status > 599 {
		return noClass
	}
	return status / 100
}

// newMetrics makes the metrics and registers them; conns counts the connections to
// instances.
func newMetrics(reg prometheus.Registerer, conns func() (open, idle int)) *metrics {
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
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "wadi_activator_request_duration_seconds", Help: "From a request's arrival to the end of its answer, by class of the status.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}, []string{"class"}),
		queue: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wadi_activator_queue_duration_seconds", Help: "How long requests waited that found no instance available, granted one or not.",
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wadi_activator_refusals_total", Help: "Requests that Wadi answered itself, by reason.",
		}, []string{"reason"}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wadi_activator_retries_total", Help: "Requests that were sent to an instance once more.",
		}),
		wakes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wadi_activator_wakes_total", Help: "Wakes of revisions, by result.",
		}, []string{"result"}),
		cold: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "wadi_activator_cold_start_seconds", Help: "Where the time of the first request of each cold start went, by phase.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .2, .3, .5, .75, 1, 1.5, 2, 3, 5, 10, 20, 30, 60, 120},
		}, []string{"phase"}),
	}
	for class := range m.byClass {
		m.byClass[class] = m.duration.WithLabelValues(className(class))
	}
	registerConnections(reg, conns)
	reg.MustRegister(m.waiting, m.inFlight, m.requests, m.duration, m.queue, m.refusals, m.retries, m.wakes, m.cold)
	return m
}

// registerConnections registers the gauges of the connections to instances.
func registerConnections(reg prometheus.Registerer, conns func() (open, idle int)) {
	for _, state := range []string{"active", "idle"} {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "wadi_activator_upstream_connections", Help: "Connections to instances, of HTTP/1.1.",
			ConstLabels: prometheus.Labels{"state": state},
		}, func() float64 {
			open, idle := conns()
			if state == "idle" {
				return float64(idle)
			}
			return float64(open - idle)
		}))
	}
}

// answered counts a request of rev.
func (m *metrics) answered(rev *revision, w *response, took time.Duration) {
	class := classOf(w.counted())
	m.byClass[class].Observe(took.Seconds())
	counter := rev.counters[class].Load()
	if counter == nil {
		c := m.requests.WithLabelValues(rev.service, className(class))
		counter = &c
		rev.counters[class].Store(counter)
		if !rev.a.serves(rev.service) { // Its metrics were dropped before this request ended.
			defer m.forget(rev.service)
		}
	}
	(*counter).Inc()
}

// coldStart observes the phases of a cold start.
func (m *metrics) coldStart(p *Phases, forward time.Duration) {
	for _, phase := range p.named(forward) {
		m.cold.WithLabelValues(phase.name).Observe(phase.took.Seconds())
	}
}

// forget drops the metrics of a service that is no longer served.
func (m *metrics) forget(service string) {
	m.requests.DeletePartialMatch(prometheus.Labels{"service": service})
}
