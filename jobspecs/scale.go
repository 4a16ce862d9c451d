package jobspecs

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/calendar"
)

// The scale block and its blocks.

func (r *reader) scale(b *hcl.Block, path string, s *wadi.Scaling) {
	most := r.limits.MaxInstances
	var metrics []wadi.MetricTarget
	r.body(b.Body, path, []setting{
		{"min", r.limited(integer(&s.Min, 0, most), limitInstances)},
		{"max", r.limited(integer(&s.Max, 0, most), limitInstances)},
		{"initial", r.limited(integer(&s.Initial, 0, most), limitInstances)},
		{"activation", r.limited(integer(&s.Activation, 1, most), limitInstances)},
		{"window", wholeSeconds(duration(&s.Window, 6*time.Second, time.Hour), &s.Window)},
		{"panic_window_percent", number(&s.PanicWindowPercent, 1, 100)},
		{"panic_threshold_percent", number(&s.PanicThresholdPercent, 110, 1000)},
		{"max_up_rate", above(&s.MaxUpRate, 1, 1e6)},
		{"max_down_rate", above(&s.MaxDownRate, 1, 1e6)},
		{"down_delay", duration(&s.DownDelay, 0, time.Hour)},
		{"zero_grace", duration(&s.ZeroGrace, 0, time.Hour)},
		{"burst_capacity", burst(&s.BurstCapacity)},
		{"dry_run", flag(&s.DryRun)},
		{"manual_hold", duration(&s.ManualHold, 0, 24*time.Hour)},
	}, []nested{
		{name: "metric", label: "name", many: true, read: func(b *hcl.Block, path string) { r.metric(b, path, *s, &metrics) }},
		{name: "schedule", label: "name", many: true, read: func(b *hcl.Block, path string) { r.schedule(b, path, s) }},
	})
	if len(metrics) > 0 {
		s.Metrics = metrics
	}
}

// limitInstances is the agent's setting that bounds every count.
const limitInstances = "limits.max_instances"

// metric reads a metric block. A service's metrics replace those of the defaults; if the
// defaults have the same metric, it supplies the missing settings.
func (r *reader) metric(b *hcl.Block, path string, s wadi.Scaling, all *[]wadi.MetricTarget) {
	name := wadi.Metric(b.Labels[0])
	if !slices.Contains([]wadi.Metric{wadi.Concurrency, wadi.RPS, wadi.CPU, wadi.Memory}, name) {
		r.addf(b.LabelRanges[0], path, "there is no metric %.50q; use \"concurrency\", \"rps\", \"cpu\" or \"memory\"", string(name))
		return
	}
	m := wadi.MetricTarget{Metric: name, Utilization: name.Default().Utilization}
	if i := slices.IndexFunc(s.Metrics, func(m wadi.MetricTarget) bool { return m.Metric == name }); i >= 0 {
		m = s.Metrics[i]
	}
	most := 1e9
	if !name.OfRequests() {
		most = 1000 // Percent of the task's request, which it may exceed.
	}
	r.body(b.Body, path, []setting{
		{"target", number(&m.Target, 0.01, most)},
		{"utilization", number(&m.Utilization, 0.01, 1)},
	}, nil)
	*all = append(*all, m)
}

// maxSchedules bounds the schedules of one service.
const maxSchedules = 32

// schedule reads a schedule block, which is added to those of the defaults; if the
// defaults have one with the same name, it supplies the missing settings.
func (r *reader) schedule(b *hcl.Block, path string, s *wadi.Scaling) {
	sch := wadi.Schedule{Name: b.Labels[0], Timezone: "UTC"}
	if err := checkScheduleName(sch.Name); err != nil {
		r.addf(b.LabelRanges[0], path, "%s", err)
		return
	}
	i := slices.IndexFunc(s.Schedules, func(o wadi.Schedule) bool { return o.Name == sch.Name })
	if i >= 0 {
		sch = s.Schedules[i]
	}
	r.body(b.Body, path, []setting{
		{"cron", text(&sch.Cron, func(v string) error { _, err := calendar.Cron(v); return err })},
		{"duration", duration(&sch.Duration, time.Minute, 7*24*time.Hour)},
		{"timezone", text(&sch.Timezone, checkZone)},
		{"min", r.limited(integer(&sch.Min, 0, r.limits.MaxInstances), limitInstances)},
	}, nil)
	if i >= 0 {
		s.Schedules[i] = sch
		return
	}
	r.require(b, path, "cron", "when it begins, such as \"0 8 * * mon-fri\"")
	r.require(b, path, "duration", "how long it stays in force, such as \"10h\"")
	r.require(b, path, "min", "how many instances there are at least while it is in force")
	if len(s.Schedules) == maxSchedules {
		r.addf(b.DefRange, path, "at most %d schedules are allowed", maxSchedules)
		return
	}
	s.Schedules = append(s.Schedules, sch)
}

func checkZone(name string) error {
	if name == "" {
		return errors.New("must not be empty; use a name such as \"Europe/Berlin\" or \"UTC\"")
	}
	_, err := calendar.Zone(name)
	return err
}

func checkScheduleName(name string) error {
	if len(name) == 0 || len(name) > 40 || checkPlain(name) != nil {
		return fmt.Errorf("%.50q can't be the name of a schedule; use 1 to 40 printable characters", name)
	}
	return nil
}

// burst reads a burst capacity: a number of requests, or -1 for no bound.
func burst(dst *float64) func(cty.Value) error {
	var f float64
	read := number(&f, -1, 1e9)
	return func(v cty.Value) error {
		if err := read(v); err != nil {
			return err
		}
		if f < 0 && f != -1 {
			return fmt.Errorf("must be -1 (no bound), 0 (off) or more, got %s", figure(f))
		}
		*dst = f
		return nil
	}
}
