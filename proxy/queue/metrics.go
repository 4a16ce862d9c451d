package queue

import (
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/wadi-run/wadi/proxy/admin"
	"github.com/wadi-run/wadi/proxy/deadline"
)

// metrics are the queue-proxy's Prometheus metrics, on a registry of their own.
type metrics struct {
	registry *prometheus.Registry
	classes  [len(classes)]prometheus.Counter
	seconds  prometheus.Histogram
	wait     prometheus.Histogram
	refusals map[string]prometheus.Counter
	probes   map[string]prometheus.Counter
}

// classes are the classes of statuses, by their first digit.
var classes = [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

func newMetrics(p *Proxy) *metrics {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wadi_queue_requests_total",
		Help: "Requests that ended, by the class of their status; none if the caller hung up first. " +
			"A gRPC call that was refused counts by what its code means.",
	}, []string{"class"})
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wadi_queue_refusals_total",
		Help: "Requests that the queue-proxy answered itself, by reason.",
	}, []string{"reason"})
	probes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wadi_queue_probes_total",
		Help: "Probes of whether requests may be sent here, by their answer. They do not count as requests.",
	}, []string{"result"})
	m := &metrics{
		registry: prometheus.NewRegistry(),
		refusals: map[string]prometheus.Counter{},
		probes:   map[string]prometheus.Counter{},
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "wadi_queue_request_duration_seconds",
			Help:    "How long requests took, waiting included.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300},
		}),
		wait: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "wadi_queue_wait_duration_seconds",
			Help:    "How long forwarded requests waited for the limit and for the app to be ready.",
			Buckets: []float64{.0001, .001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}),
	}
	for i, class := range classes {
		m.classes[i] = requests.WithLabelValues(class)
	}
	for _, reason := range reasons {
		m.refusals[reason] = refused.WithLabelValues(strings.ReplaceAll(reason, " ", "_"))
	}
	for _, result := range []string{probedReady, probedNotReady, probedMisdirected} {
		m.probes[result] = probes.WithLabelValues(result)
	}
	m.registry.MustRegister(requests, m.seconds, m.wait, refused, probes)
	m.registry.MustRegister(admin.Runtime()...)
	m.registry.MustRegister(gauges(p)...)
	m.registry.MustRegister(newOutcomeMetrics(p))
	return m
}

// gauges read p's state at each scrape.
func gauges(p *Proxy) []prometheus.Collector {
	const connections, connectionsHelp = "wadi_queue_upstream_connections", "Open connections to the app, by whether a request uses them."
	return []prometheus.Collector{
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "wadi_queue_concurrency_seconds_total",
			Help: "Integral over time of the requests in flight or waiting.",
		}, func() float64 { busy, _ := p.recorder.Totals(); return busy }),
		gauge("wadi_queue_in_flight_requests", "Requests that are admitted.", nil,
			func() int { return p.limiter.InFlight() }),
		gauge("wadi_queue_waiting_requests", "Requests that wait for the limit.", nil,
			func() int { return p.limiter.Waiting() }),
		gauge("wadi_queue_tunnels", "Requests that were upgraded, such as WebSockets. They are among those in flight.", nil,
			func() int { return p.inFlight.remaining().Tunnels }),
		gauge("wadi_queue_connections", "Open connections of callers.", nil,
			func() int { return p.conns.Len() }),
		gauge(connections, connectionsHelp, prometheus.Labels{"state": "active"},
			func() int { open, idle := p.app.Conns(); return open - idle }),
		gauge(connections, connectionsHelp, prometheus.Labels{"state": "idle"},
			func() int { _, idle := p.app.Conns(); return idle }),
		gauge("wadi_queue_ready", "1 if requests may be sent here.", nil, func() int {
			if p.isReady() && !p.orders.going() {
				return 1
			}
			return 0
		}),
	}
}

func gauge(name, help string, labels prometheus.Labels, value func() int) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels},
		func() float64 { return float64(value()) })
}

// observe counts a request that has ended.
func (m *metrics) observe(status int, took time.Duration) {
	class := 0
	if status >= 100 && status < 600 {
		class = status / 100
	}
	m.classes[class].Inc()
	m.seconds.Observe(took.Seconds())
}

// metricsHandler is the metrics plane: it only reads.
func (p *Proxy) metricsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(p.metrics.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	mux.Handle("GET "+statsPath, p.statsHandler())
	mux.HandleFunc("GET /ready", p.answerReady)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != statsPath { // Its handler waits, and does this itself.
			deadline.EndUnread(w, r)
		}
		mux.ServeHTTP(w, r)
	})
}
