package agent

import "github.com/prometheus/client_golang/prometheus"

// Metrics of the leader's loops.
type Metrics struct {
	passErrors prometheus.Counter
	scales     *prometheus.CounterVec // By direction: up, down.
	scaleError prometheus.Counter
	desired    *prometheus.GaugeVec // By service and revision.
	ready      *prometheus.GaugeVec
	leading    prometheus.Gauge
}

// NewMetrics registers them with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		passErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wadi_controller_errors_total", Help: "Passes over a service that ended in an error.",
		}),
		scales: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wadi_autoscaler_scalings_total", Help: "Counts set in Nomad by the autoscaler.",
		}, []string{"direction"}),
		scaleError: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wadi_autoscaler_errors_total", Help: "Decisions that could not be carried out.",
		}),
		desired: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "wadi_autoscaler_desired_instances", Help: "Instances wanted, after bounds.",
		}, []string{"service", "revision"}),
		ready: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "wadi_autoscaler_ready_instances", Help: "Instances that answer as ready.",
		}, []string{"service", "revision"}),
		leading: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "wadi_leader", Help: "1 on the agent that leads.",
		}),
	}
	reg.MustRegister(m.passErrors, m.scales, m.scaleError, m.desired, m.ready, m.leading)
	return m
}

// SetLeading tells whether this agent leads.
func (m *Metrics) SetLeading(leads bool) {
	v := 0.0
	if leads {
		v = 1
	}
	m.leading.Set(v)
}
