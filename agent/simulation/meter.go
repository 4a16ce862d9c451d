package simulation

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/scheduler"
)

// Meter is what a leader has read of the statistics of instances and activators. Make it
// with NewMeter.
type Meter struct {
	n       *Nomad
	t       *Traffic
	actor   string
	changed chan struct{}
	began   time.Time
	read    map[string]reading // By revision.
	ready   map[string]bool    // Instances, as last read.
	news    map[string]bool    // The services that TakeChanged returns.
}

// reading is what was read of one revision.
type reading struct {
	at      time.Time
	ready   int
	load    float64
	idle    time.Time // Since when there was no request.
	partial bool
}

// NewMeter returns the meter of a new term, which knows nothing.
func NewMeter(n *Nomad, t *Traffic, actor string) *Meter {
	return &Meter{n: n, t: t, actor: actor, changed: make(chan struct{}), began: time.Now(), read: map[string]reading{}, ready: map[string]bool{}, news: map[string]bool{}}
}

// Poll reads all sources; partial: not all of them answer.
func (m *Meter) Poll(partial bool) {
	for _, j := range m.n.Jobs() {
		m.poll(j.ID, partial)
	}
}

func (m *Meter) poll(id string, partial bool) {
	now := time.Now()
	if partial {
		r := m.read[id]
		r.partial = true
		m.read[id] = r
		return
	}
	was := m.read[id]
	r := reading{at: now, load: m.t.Load(id), idle: m.t.IdleSince(id)}
	for _, a := range m.n.Instances(id) {
		m.ready[a.ID] = a.Ready(now)
		if a.Ready(now) {
			r.ready++
		}
	}
	m.read[id] = r
	if was.ready != r.ready || was.at.IsZero() {
		m.news[serviceOf(id)] = true
		close(m.changed)
		m.changed = make(chan struct{})
	}
}

// Changed implements control.Notifier.
func (m *Meter) Changed() <-chan struct{} { return m.changed }

// TakeChanged implements control.ServiceNews.
func (m *Meter) TakeChanged() (services []string, all bool) {
	services = slices.Sorted(maps.Keys(m.news))
	clear(m.news)
	return services, false
}

// Set implements control.Meter.
func (m *Meter) Set([]control.MeasuredRevision, []control.Source) {}

// ReadyCount implements control.Meter.
func (m *Meter) ReadyCount(id string) (int, bool) {
	r := m.read[id]
	return r.ready, !r.at.IsZero() || time.Since(m.began) > 3*time.Second
}

// Ready implements control.Loads.
func (m *Meter) Ready(instance string) bool { return m.ready[instance] }

// Load implements control.Loads.
func (m *Meter) Load(id string, by []wadi.MetricTarget, _, _ time.Duration, into *scheduler.Loads) (int, bool) {
	r := m.read[id]
	a := scheduler.Averages{End: r.at}
	if !r.at.IsZero() {
		a = scheduler.Averages{Stable: r.load, Panic: r.load, Coverage: 1, PanicCoverage: 1, End: r.at, Partial: r.partial}
		if r.load == 0 && !r.partial {
			a.Idle = max(0, r.at.Sub(later(r.idle, m.began)))
		}
	}
	into.Concurrency = a
	for _, t := range by {
		*into.Of(t.Metric) = a
	}
	ready, known := m.ReadyCount(id)
	return ready, known
}

// Confirm implements control.Loads.
func (m *Meter) Confirm(ctx context.Context, id string) {
	err := m.n.Gate.Do(ctx, m.actor, "read "+id, func(Verdict) error {
		m.poll(id, false)
		return nil
	})
	if err != nil {
		_ = m.n.Gate.Do(ctx, m.actor, "unread "+id, func(Verdict) error { m.poll(id, true); return nil })
	}
}
