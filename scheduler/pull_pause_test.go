package scheduler_test

import (
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// lacking is an instance without its image, whose last try failed at a second.
func lacking(kind wadi.PullFailure, second int64, ended bool) wadi.Endpoint {
	return wadi.Endpoint{PullFailure: kind, PullFailedAt: time.Unix(second, 0).UnixNano(), Ended: ended, Problem: string(kind)}
}

// wantsThree has a load that wants three instances, where so many are counted, are ready, and have
// their image.
func wantsThree(in *scheduler.EvalInput, count, ready, withImage int) {
	in.Count, in.Ready, in.Starting, in.WithImage = count, ready, count-ready, withImage
	in.Loads.Concurrency.Stable, in.Loads.Concurrency.Panic = 28, 28
}

func TestWithImage(t *testing.T) {
	has := func(index int) wadi.Endpoint { return wadi.Endpoint{Index: index} }
	lacks := func(index int) wadi.Endpoint { return wadi.Endpoint{Index: index, PullFailure: wadi.PullTooMany} }
	stops := wadi.Endpoint{Index: 9, Stopping: true}
	for _, tt := range []struct {
		name string
		eps  []wadi.Endpoint
		want int
	}{
		{"none", nil, 0},
		{"all have it", []wadi.Endpoint{has(0), has(1)}, 2},
		{"none has it", []wadi.Endpoint{lacks(0), lacks(1)}, 0},
		{"the last lack it", []wadi.Endpoint{has(0), has(1), lacks(2), lacks(3)}, 2},
		{"the last lack it, in any order", []wadi.Endpoint{lacks(3), has(1), stops, has(0), lacks(2)}, 2},
		{"one that has it would be stopped first", []wadi.Endpoint{has(0), lacks(1), has(2)}, -1},
	} {
		if got := scheduler.WithImage(tt.eps); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestWithTasks(t *testing.T) {
	eps := []wadi.Endpoint{
		{Running: true},
		{}, // Placed.
		{Running: true, Pull: wadi.PullTime{Ongoing: true}}, // Its queue-proxy runs.
		{Running: true, PullFailure: wadi.PullTooMany},
		{Running: true, Stopping: true},
	}
	if got := scheduler.WithTasks(eps); got != 1 {
		t.Errorf("got %d, want the one that runs", got)
	}
}

func TestPullPauseAfter(t *testing.T) {
	ended := func(n int, kind wadi.PullFailure) (eps []wadi.Endpoint) {
		for i := range n {
			eps = append(eps, lacking(kind, int64(100+i), true))
		}
		return eps
	}
	runs, had := wadi.Endpoint{Running: true}, wadi.Endpoint{Ended: true}
	for _, tt := range []struct {
		name string
		eps  []wadi.Endpoint
		want time.Duration // 0: no pause.
	}{
		{"no instance", nil, 0},
		{"runs", []wadi.Endpoint{runs}, 0},
		{"too many requests, at the first try", []wadi.Endpoint{lacking(wadi.PullTooMany, 100, false)}, 10 * time.Second},
		{"the same instance, ended", []wadi.Endpoint{lacking(wadi.PullTooMany, 100, true)}, 10 * time.Second},
		{"again", append(ended(1, wadi.PullTooMany), lacking(wadi.PullTooMany, 120, false)), 20 * time.Second},
		{"many times", ended(5, wadi.PullTooMany), 2 * time.Minute},
		{"away, of one instance", []wadi.Endpoint{lacking(wadi.PullAway, 100, true)}, 0},
		{"away, of three", ended(3, wadi.PullAway), 10 * time.Second},
		{"no such tag, of three", ended(3, wadi.PullNoTag), 10 * time.Second},
		{"away, of three and one more try", append(ended(3, wadi.PullAway), lacking(wadi.PullAway, 150, false)), 10 * time.Second},
		{"away, of five", ended(5, wadi.PullAway), 40 * time.Second},
		{"the next one starts", append(ended(3, wadi.PullAway), wadi.Endpoint{}), 10 * time.Second},
		{"one has run in between", append(append(ended(3, wadi.PullAway), had), lacking(wadi.PullAway, 150, true)), 0},
		{"one runs since", append(ended(3, wadi.PullTooMany), runs), 0},
		{"one runs in between", append(append(ended(3, wadi.PullTooMany), runs), lacking(wadi.PullTooMany, 150, true)), 10 * time.Second},
		{"away first, then too many", append(ended(1, wadi.PullAway), lacking(wadi.PullTooMany, 120, false)), 20 * time.Second},
	} {
		p := scheduler.PullPauseAfter(tt.eps)
		if got := p.Until.Sub(p.Since); got != tt.want {
			t.Errorf("%s: paused for %v, want %v", tt.name, got, tt.want)
		}
		if last := p.Since; tt.want > 0 && (p.Reason == "" || p.Kind == "" || !p.Active(last) || p.Active(p.Until)) {
			t.Errorf("%s: got %+v", tt.name, p)
		}
	}
}

// While a revision's image is not to be asked for it has no instance, whatever wants one;
// but those that have it stay.
func TestEvaluate_PullPause(t *testing.T) {
	paused := scheduler.PullPause{Kind: wadi.PullTooMany, Reason: "r.example says so", Since: at(0), Until: at(10)}
	for _, tt := range []struct {
		name   string
		change func(*scheduler.EvalInput)
		want   int
		rule   string
	}{
		{"a failing instance", func(in *scheduler.EvalInput) { in.Count, in.Starting = 1, 1 }, 0, scheduler.RulePull},
		{"another one starts", func(in *scheduler.EvalInput) { wantsThree(in, 2, 0, 1); in.WithTasks = 1 }, 1, scheduler.RulePull},
		{"two are not ready for a moment", func(in *scheduler.EvalInput) { wantsThree(in, 3, 0, 2); in.WithTasks = 2 }, 2, scheduler.RulePull},
		{"one starts, and would be stopped first", func(in *scheduler.EvalInput) { wantsThree(in, 2, 0, -1); in.WithTasks = 1 }, 3, ""},
		{"the clock was set back", func(in *scheduler.EvalInput) { in.Now, in.WasReady = at(-200), false }, 1, scheduler.RuleInitial},
		{"a new revision", func(in *scheduler.EvalInput) { in.WasReady = false }, 0, scheduler.RulePull},
		{"its load is not known", func(in *scheduler.EvalInput) { in.WasReady, in.Loads = false, scheduler.Loads{} }, 0, scheduler.RulePull},
		{"a lower bound", func(in *scheduler.EvalInput) { s := *in.Scaling; s.Min = 2; in.Scaling = &s }, 0, scheduler.RulePull},
		{"an override", func(in *scheduler.EvalInput) { in.Override = wadi.Override{Count: 3, Until: at(100)} }, 0, scheduler.RulePull},
		{"another one is ready", func(in *scheduler.EvalInput) { wantsThree(in, 2, 1, 1) }, 1, scheduler.RulePull},
		{"another one is ready, and would be stopped first", func(in *scheduler.EvalInput) { wantsThree(in, 2, 1, -1) }, 3, ""},
		{"one more is wanted than have it", func(in *scheduler.EvalInput) { wantsThree(in, 2, 2, 2) }, 2, scheduler.RulePull},
		{"as many are wanted as have it", func(in *scheduler.EvalInput) { wantsThree(in, 4, 3, 3) }, 3, ""},
		{"it is not known which are ready", func(in *scheduler.EvalInput) { in.Count, in.Starting, in.ReadyKnown = 1, 1, false }, 1, scheduler.RuleInvalid},
		{"over", func(in *scheduler.EvalInput) { in.Now, in.WasReady = at(10), false }, 1, scheduler.RuleInitial},
	} {
		a := scheduler.Averages{Coverage: 1, PanicCoverage: 1, End: at(1)}
		a.Idle = 0
		in := scheduler.EvalInput{
			Revision: "hello-00001", Now: at(1), Routed: true, WasReady: true, Wakeable: true, ReadyKnown: true, PullPause: paused,
			Scaling: &wadi.Scaling{Initial: 1, Activation: 1, Window: wadi.Duration(10 * time.Second), PanicWindowPercent: 10, PanicThresholdPercent: 200,
				MaxUpRate: 1000, MaxDownRate: 2, Metrics: []wadi.MetricTarget{{Metric: wadi.Concurrency, Target: 10, Utilization: 1}}},
			Loads: scheduler.Loads{Concurrency: a}, Progress: time.Minute,
		}
		tt.change(&in)
		d, _ := scheduler.Evaluate(in)
		if d.Desired != tt.want || tt.rule != "" && d.Rule != tt.rule {
			t.Errorf("%s: got %d by %s (%s), want %d by %s", tt.name, d.Desired, d.Rule, d.Reason, tt.want, tt.rule)
		}
		if d.Rule != scheduler.RulePull {
			continue
		}
		if !d.Valid || !d.PausedUntil.Equal(at(10)) || !strings.Contains(d.Reason, "too many requests") || strings.Contains(d.Reason, "r.example") {
			t.Errorf("%s: got %+v", tt.name, d)
		}
	}
}
