package queue

import (
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/wadi-run/wadi/proxy"
)

// metrics are the proxy's Prometheus metrics, on a registry of their own.
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
		Help: "Requests that ended, by the class of their status; none if the caller left first. " +
			"A gRPC call that was refused counts by what its code means.",
	}, []string{"class"})
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wadi_queue_refusals_total",
		Help: "Requests that the queue-proxy answered itself, by reason.",
	}, []string{"reason"})
	probes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wadi_queue_probes_total",
		Help: "Questions whether requests may be sent here, by what was answered. They are no requests.",
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
	m.registry.MustRegister(requests, m.seconds, m.wait, refused, probes,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "wadi_queue_concurrency_seconds_total",
			Help: "Integral over time of the requests in flight or waiting.",
		}, func() float64 { busy, _ := p.recorder.Totals(); return busy }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "wadi_queue_in_flight_requests", Help: "Requests that are admitted.",
		}, func() float64 { return float64(p.limiter.InFlight()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "wadi_queue_waiting_requests", Help: "Requests that wait for the limit.",
		}, func() float64 { return float64(p.limiter.Waiting()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "wadi_queue_tunnels", Help: "Requests that were upgraded, such as WebSockets. They are among those in flight.",
		}, func() float64 { return float64(p.live.rest().Tunnels) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "wadi_queue_connections", Help: "Open connections of callers.",
		}, func() float64 { return float64(p.conns.count()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "wadi_queue_upstream_connections", Help: "Open connections to the app, by whether a request uses them.",
			ConstLabels: prometheus.Labels{"state": "active"},
		}, func() float64 { open, idle := p.app.Conns(); return float64(open - idle) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "wadi_queue_upstream_connections", Help: "Open connections to the app, by whether a request uses them.",
			ConstLabels: prometheus.Labels{"state": "idle"},
		}, func() float64 { _, idle := p.app.Conns(); return float64(idle) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "wadi_queue_ready", Help: "1 if requests may be sent here.",
		}, func() float64 {
			if p.isReady() && !p.orders.going() {
				return 1
			}
			return 0
		}),
	)
	return m
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

// headerReady tells on every answer of statistics whether requests may be sent here.
const headerReady = "Wadi-Ready"

// statsPath is where the statistics are.
const statsPath = "/v1/stats"

// metricsHandler is the metrics plane: it only reads.
func (p *Proxy) metricsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(p.metrics.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	mux.Handle("GET "+statsPath, proxy.StatsHandler(p.recorder, func(h http.Header) {
		ready := "false"
		if p.isReady() {
			ready = "true"
		}
		h.Set(headerReady, ready)
		p.tellTrouble(h)
	}))
	// Whoever sees this as ready sends requests, in the mesh through Envoy.
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case p.drain.HasBegun(), !p.ready.isReady():
			http.Error(w, p.notReady(), http.StatusServiceUnavailable)
		case p.orders.going(): // Statistics say that it is ready all the same: it may yet stay.
			http.Error(w, toldToGo, http.StatusServiceUnavailable)
		case !p.envoyListens(r.Context()):
			http.Error(w, "Envoy does not listen", http.StatusServiceUnavailable)
		default:
			_, _ = w.Write([]byte("ready\n"))
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != statsPath { // There it is known when the answer is.
			proxy.EndUnread(w, r)
		}
		mux.ServeHTTP(w, r)
	})
}
