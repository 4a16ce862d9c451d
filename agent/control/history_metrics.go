package control

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
)

// Describe implements prometheus.Collector.
func (d *History) Describe(out chan<- *prometheus.Desc) {
	for _, g := range gauges {
		out <- g.desc
	}
}

// Collect implements prometheus.Collector: the last decision about each revision. The
// metrics are made when they are scraped, so that a decision costs nothing more.
func (d *History) Collect(out chan<- prometheus.Metric) {
	d.mu.Lock()
	last := make([]wadi.Decision, 0, len(d.kept))
	for _, k := range d.kept {
		last = append(last, k.last)
	}
	d.mu.Unlock()
	for i := range last {
		service, _, _ := wadi.SplitRevisionID(last[i].Revision)
		for _, g := range gauges {
			out <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, g.value(&last[i]), service, last[i].Revision)
		}
	}
}

// gauge is one value of a decision.
type gauge struct {
	desc  *prometheus.Desc
	value func(*wadi.Decision) float64
}

func newGauge(name, help string, value func(*wadi.Decision) float64) gauge {
	return gauge{prometheus.NewDesc("wadi_autoscaler_"+name, help, []string{"service", "revision"}, nil), value}
}

var gauges = []gauge{
	newGauge("desired_instances", "Instances wanted, after bounds.", func(d *wadi.Decision) float64 { return float64(d.Desired) }),
	newGauge("wanted_instances", "Instances wanted, before bounds.", func(d *wadi.Decision) float64 { return float64(d.Wanted) }),
	newGauge("ready_instances", "Instances that answer as ready.", func(d *wadi.Decision) float64 { return float64(d.Ready) }),
	newGauge("starting_instances", "Instances that are placed or asked for, and not ready.", func(d *wadi.Decision) float64 { return float64(d.Starting) }),
	newGauge("stable_average", "Average over the window, of the metric that decided.", func(d *wadi.Decision) float64 { return d.Stable }),
	newGauge("panic_average", "Average over the panic window, of the metric that decided.", func(d *wadi.Decision) float64 { return d.Panic }),
	newGauge("panicking", "1 in panic: nothing is lowered.", func(d *wadi.Decision) float64 { return truth(d.Panicking) }),
	newGauge("window_coverage", "Share of the window that is known, 0 to 1.", func(d *wadi.Decision) float64 { return d.Coverage }),
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
