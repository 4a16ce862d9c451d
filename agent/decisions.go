package agent

import (
	"slices"
	"sync"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
)

// Bounds of the decisions that are remembered.
const (
	decisionsKept  = 200      // Of one revision.
	decisionsBytes = 64 << 20 // Of all together.
	reasonKept     = 1 << 10  // Of one text.
)

// Decisions keeps the latest scaling decisions of every revision. Equal ones in
// a row are one, with a count. The oldest make room: each revision has at most an
// equal share of what all may take.
type Decisions struct {
	mu    sync.Mutex
	kept  map[string]*kept // By revision.
	bytes int              // Of all.
	limit int              // 0: decisionsBytes.
}

// kept are the decisions about one revision, oldest first.
type kept struct {
	list  []wadi.Decision
	bytes int
}

// NewDecisions keeps no more than about so many bytes of decisions; 0 is 64 MiB.
func NewDecisions(limit int) *Decisions { return &Decisions{limit: limit} }

// Add records a decision.
func (d *Decisions) Add(dec wadi.Decision) {
	dec.Reason, dec.WhyNot = cut(dec.Reason), cut(dec.WhyNot)
	dec.Times = 1
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kept == nil {
		d.kept = map[string]*kept{}
	}
	k := d.kept[dec.Revision]
	if k == nil {
		k = &kept{}
		d.kept[dec.Revision] = k
	}
	was := k.bytes
	if n := len(k.list); n > 0 && same(&k.list[n-1], &dec) {
		dec.Times += k.list[n-1].Times
		k.bytes += size(&dec) - size(&k.list[n-1])
		k.list[n-1] = dec
	} else {
		k.list = append(k.list, dec)
		k.bytes += size(&dec)
		k.trim(decisionsKept, decisionsBytes)
	}
	d.bytes += k.bytes - was
	if limit := d.most(); d.bytes > limit {
		d.makeRoom(limit)
	}
}

func (d *Decisions) most() int {
	if d.limit == 0 {
		return decisionsBytes
	}
	return d.limit
}

// makeRoom trims every revision to its share, and to a little less, so that it is
// seldom done.
func (d *Decisions) makeRoom(limit int) {
	share := limit / len(d.kept) * 9 / 10
	d.bytes = 0
	for _, k := range d.kept {
		k.trim(decisionsKept, share)
		d.bytes += k.bytes
	}
}

// trim forgets the oldest until no more than so many, and so many bytes, are left;
// the last one stays.
func (k *kept) trim(most, bytes int) {
	drop := 0
	for ; len(k.list)-drop > 1 && (len(k.list)-drop > most || k.bytes > bytes); drop++ {
		k.bytes -= size(&k.list[drop])
	}
	if drop > 0 {
		k.list = slices.Clone(k.list[drop:])
	}
}

// size is about how many bytes a decision takes.
func size(d *wadi.Decision) int {
	return int(unsafe.Sizeof(*d)) + len(d.Reason) + len(d.WhyNot) + len(d.Readings)*int(unsafe.Sizeof(wadi.Reading{}))
}

func cut(text string) string {
	if len(text) > reasonKept {
		return text[:reasonKept] + "…"
	}
	return text
}

// same reports whether two decisions say the same but for the numbers behind them.
func same(a, b *wadi.Decision) bool {
	return a.Ready == b.Ready && a.Starting == b.Starting && a.Count == b.Count && a.Wanted == b.Wanted && a.Desired == b.Desired &&
		a.Metric == b.Metric && a.Panicking == b.Panicking && a.Valid == b.Valid && a.Rule == b.Rule && a.Carried == b.Carried &&
		(a.WhyNot == "") == (b.WhyNot == "") && alike(a.Floor, b.Floor) && alike(a.Ceiling, b.Ceiling)
}

func alike(a, b wadi.Bound) bool { return a.Count == b.Count && a.By == b.By && a.Name == b.Name }

// Of returns the decisions of a revision, oldest first.
func (d *Decisions) Of(revision string) []wadi.Decision {
	d.mu.Lock()
	defer d.mu.Unlock()
	if k := d.kept[revision]; k != nil {
		return slices.Clone(k.list)
	}
	return nil
}

// Last returns the latest decision of a revision.
func (d *Decisions) Last(revision string) (wadi.Decision, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if k := d.kept[revision]; k != nil {
		return k.list[len(k.list)-1], true
	}
	return wadi.Decision{}, false
}

// Forget drops what is kept of revisions.
func (d *Decisions) Forget(revisions []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range revisions {
		if k := d.kept[r]; k != nil {
			d.bytes -= k.bytes
			delete(d.kept, r)
		}
	}
}

// Clear drops all that is kept.
func (d *Decisions) Clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.kept)
	d.bytes = 0
}

// Describe implements prometheus.Collector.
func (d *Decisions) Describe(out chan<- *prometheus.Desc) {
	for _, g := range gauges {
		out <- g.desc
	}
}

// Collect implements prometheus.Collector: what was decided last about each
// revision, written when somebody asks, so that it costs a decision nothing.
func (d *Decisions) Collect(out chan<- prometheus.Metric) {
	d.mu.Lock()
	last := make([]wadi.Decision, 0, len(d.kept))
	for _, k := range d.kept {
		last = append(last, k.list[len(k.list)-1])
	}
	d.mu.Unlock()
	for i := range last {
		service, _, _ := wadi.SplitRevisionID(last[i].Revision)
		for _, g := range gauges {
			out <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, g.value(&last[i]), service, last[i].Revision)
		}
	}
}

// gauge is something that a decision says.
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
