package control

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of the leader's loops.
type Metrics struct {
	passErrors    prometheus.Counter
	reconciles    prometheus.Counter
	whole         prometheus.Gauge
	scales        *prometheus.CounterVec // By direction (up, down) and result (ok, conflict, error).
	scaleError    prometheus.Counter
	decisions     *prometheus.CounterVec // By rule.
	signalToScale prometheus.Histogram
	pass          prometheus.Histogram
	leading       prometheus.Gauge
}

// NewMetrics registers them with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		passErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wadi_controller_errors_total", Help: "Passes over a service that ended in an error.",
		}),
		reconciles: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wadi_controller_reconciles_total", Help: "Times that a service was reconciled.",
		}),
		whole: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "wadi_controller_whole_seconds", Help: "How long the last reconciling of all services took.",
		}),
		scales: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wadi_autoscaler_scalings_total", Help: "Counts that the autoscaler asked Nomad to set. A conflict is decided anew.",
		}, []string{"direction", "result"}),
		scaleError: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wadi_autoscaler_errors_total", Help: "Decisions that could not be executed.",
		}),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wadi_autoscaler_decisions_total", Help: "Decisions by the rule that decided.",
		}, []string{"rule"}),
		signalToScale: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wadi_autoscaler_signal_to_scale_seconds", Help: "From the end of the last second that was measured to the scale call that it led to.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2, 3, 5, 10},
		}),
		pass: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "wadi_autoscaler_pass_seconds", Help: "Evaluation of all revisions, scale calls included.",
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}),
		leading: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "wadi_leader", Help: "1 on the agent that leads.",
		}),
	}
	reg.MustRegister(m.passErrors, m.reconciles, m.whole, m.scales, m.scaleError, m.decisions, m.signalToScale, m.pass, m.leading)
	return m
}

// ofRule is the counter of the decisions by a rule.
func (m *Metrics) ofRule(rule string) prometheus.Counter {
	return m.decisions.WithLabelValues(rule)
}

// SetLeading sets whether this agent leads.
func (m *Metrics) SetLeading(leads bool) {
	v := 0.0
	if leads {
		v = 1
	}
	m.leading.Set(v)
}
