package acme

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
)

// Metrics are those of the agent that orders. They outlive a term.
type Metrics struct {
	orders  *prometheus.CounterVec
	domains atomic.Pointer[map[string]wadi.Domain]
	states  *prometheus.Desc
}

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		orders: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wadi_acme_orders_total", Help: "Attempts of this agent to obtain certificates: issued, or failed.",
		}, []string{"result"}),
		states: prometheus.NewDesc("wadi_acme_domains", "Claimed domains by what they have come to, as the leader sees it.", []string{"state"}, nil),
	}
	reg.MustRegister(m.orders, m)
	return m
}

func (m *Metrics) ordered(result string) {
	if m != nil {
		m.orders.WithLabelValues(result).Inc()
	}
}

// set replaces the domains; nil: another agent leads.
func (m *Metrics) set(all map[string]wadi.Domain) {
	if m != nil {
		m.domains.Store(&all)
	}
}

// Clear forgets the domains, at the end of a term.
func (m *Metrics) Clear() { m.set(nil) }

// renewalFailed is the state, in the metric alone, of a domain whose certificate is still good
// and can't be renewed.
const renewalFailed wadi.DomainState = "RenewalFailed"

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) { ch <- m.states }

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	all := m.domains.Load()
	if all == nil || *all == nil {
		return
	}
	n := map[wadi.DomainState]int{}
	for _, d := range *all {
		if d.State == wadi.DomainIssued && d.Reason != "" {
			d.State = renewalFailed
		}
		n[d.State]++
	}
	for _, s := range []wadi.DomainState{wadi.DomainIssued, renewalFailed, wadi.DomainOrdered, wadi.DomainRefused, wadi.DomainFolder, wadi.DomainTooMany, wadi.DomainUnstored} {
		ch <- prometheus.MustNewConstMetric(m.states, prometheus.GaugeValue, float64(n[s]), string(s))
	}
}
