package scheduler_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/calendar"
	"github.com/wadi-run/wadi/scheduler"
)

// by sets the metrics that a revision is scaled by, with a target of 10 for concurrency
// and rps, and 80 for cpu and memory. No metric panics, or begins to.
func by(metrics ...wadi.Metric) func(*scheduler.EvalInput) {
	return func(in *scheduler.EvalInput) {
		in.Scaling.Metrics, in.Scaling.PanicThresholdPercent = nil, 1000
		for _, m := range metrics {
			t := wadi.MetricTarget{Metric: m, Target: 10, Utilization: 1}
			if !m.OfRequests() {
				t.Target = 80
			}
			in.Scaling.Metrics = append(in.Scaling.Metrics, t)
			in.Deciders[m] = scheduler.NewDecider(1, at(0))
		}
		for _, m := range []wadi.Metric{wadi.RPS, wadi.CPU, wadi.Memory} {
			*in.Loads.Of(m) = in.Loads.Concurrency
		}
	}
}

// loaded sets the load by one metric, the same over both windows.
func loaded(m wadi.Metric, v float64) func(*scheduler.EvalInput) {
	return func(in *scheduler.EvalInput) { in.Loads.Of(m).Stable, in.Loads.Of(m).Panic = v, v }
}

func running(n int) func(*scheduler.EvalInput) {
	return func(in *scheduler.EvalInput) { in.Count, in.Ready = n, n }
}

func TestEvaluate_SeveralMetrics(t *testing.T) {
	type I = scheduler.EvalInput
	idle := func(in *I) { in.Loads.Concurrency.Idle = time.Minute }
	unknown := func(m wadi.Metric) func(*I) { return func(in *I) { *in.Loads.Of(m) = scheduler.Averages{} } }
	partial := func(m wadi.Metric) func(*I) { return func(in *I) { in.Loads.Of(m).Partial = true } }
	known := func(m wadi.Metric, share float64) func(*I) { return func(in *I) { in.Loads.Of(m).Coverage = share } }
	atLeast := func(in *I) { in.Loads.CPU.AtLeast = true }
	const c, r, cpu, mem = wadi.Concurrency, wadi.RPS, wadi.CPU, wadi.Memory
	for _, tt := range []struct {
		name    string
		set     []func(*I)
		desired int
		metric  wadi.Metric
		rule    string
		reason  string
	}{
		{"the largest wins", []func(*I){by(c, r), running(4), loaded(c, 25), loaded(r, 45)}, 5, r, "load", "45 requests per second on average over 60s, 10 wanted per instance: 5 instances"},
		{"whichever it is", []func(*I){by(r, c), running(4), loaded(c, 45), loaded(r, 25)}, 5, c, "load", "45 requests at once"},
		{"of equal ones the first", []func(*I){by(r, c), running(4), loaded(c, 35), loaded(r, 35)}, 4, r, "load", ""},
		{"cpu beside requests", []func(*I){by(c, cpu), running(4), loaded(c, 15), loaded(cpu, 500)}, 7, cpu, "load",
			"500% of the cpu of one instance on average over 60s, 80 wanted per instance: 7 instances"},
		{"memory alone", []func(*I){by(mem), running(4), loaded(c, 3), loaded(mem, 300)}, 4, mem, "load", "300% of the memory of one instance"},
		{"cpu wants one at least", []func(*I){by(cpu), running(1), loaded(c, 0.1)}, 1, cpu, "load", ""},
		{"requests alone decide zero", []func(*I){by(cpu), running(1), loaded(cpu, 500), idle}, 0, c, "zero", "no request for 60s: 0 instances"},
		{"and the way there", []func(*I){by(c, cpu), running(8), loaded(cpu, 700), idle}, 4, c, "down_rate", ""},
		{"until it is due cpu holds", []func(*I){by(c, cpu), running(7), loaded(cpu, 500)}, 7, cpu, "load", ""},
		{"cpu does not keep one without requests", []func(*I){by(c, cpu), running(1), loaded(cpu, 70), idle}, 0, c, "zero", ""},
		{"cpu does not leave zero", []func(*I){by(c, cpu), running(0), loaded(cpu, 500)}, 0, c, "load", ""},
		{"cpu alone, none running", []func(*I){by(cpu), running(0), loaded(cpu, 500)}, 0, c, "load", "0 requests at once on average over 60s: 0 instances"},
		{"cpu alone, requests come", []func(*I){by(cpu), running(0), loaded(c, 99), unknown(cpu)}, 1, c, "load", ""},
		{"cpu unknown: no lowering", []func(*I){by(c, cpu), running(4), loaded(c, 25), unknown(cpu)}, 4, c, "partial", "; but the cpu of some instance is not known: stays at 4"},
		{"cpu partly known: no lowering", []func(*I){by(c, cpu), running(4), loaded(c, 25), partial(cpu)}, 4, c, "partial", "; but the cpu of some instance is not known: stays at 4"},
		{"cpu unknown: may raise", []func(*I){by(c, cpu), running(4), loaded(c, 55), unknown(cpu)}, 6, c, "load", ""},
		{"cpu unknown: zero all the same", []func(*I){by(c, cpu), running(1), unknown(cpu), idle}, 0, c, "zero", ""},
		{"requests unknown: cpu may raise", []func(*I){by(c, cpu), running(4), loaded(cpu, 500), unknown(c)}, 7, cpu, "load", ""},
		{"requests unknown: cpu does not lower", []func(*I){by(c, cpu), running(4), loaded(cpu, 100), unknown(c)}, 4, cpu, "partial", "; but not every source has reported: stays at 4"},
		{"cpu known of the smaller part: nothing changes", []func(*I){by(cpu), running(4), loaded(cpu, 500), known(cpu, 0.3)}, 4, c, "partial", "; but the cpu of some instance is not known: stays at 4"},
		{"at least so much cpu: may raise", []func(*I){by(cpu), running(4), loaded(cpu, 500), known(cpu, 0.3), atLeast}, 7, cpu, "load", ""},
		{"at least so much cpu: no lowering", []func(*I){by(cpu), running(4), loaded(cpu, 90), known(cpu, 0.3), partial(cpu), atLeast}, 4, cpu, "partial", "; but the cpu of some instance is not known: stays at 4"},
		{"cpu measured before the raise: no lowering", []func(*I){by(cpu), running(4), loaded(c, 0.1), loaded(cpu, 90), func(in *I) { in.Raised, in.Loads.CPU.End = in.Now.Add(-3*time.Second), in.Now.Add(-5*time.Second) }}, 4, cpu, "fresh", "; but that was measured before it was raised: stays at 4"},
		{"nothing known", []func(*I){by(c, cpu), running(4), unknown(c), unknown(cpu)}, 4, c, "invalid", "only 0% of the window is known: nothing changes"},
		{"none named", []func(*I){by(), running(4), loaded(c, 250)}, 4, c, "load", "70 wanted per instance"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, _ := scheduler.Evaluate(evaluation(tt.set...))
			if got.Desired != tt.desired || got.Metric != tt.metric || got.Rule != tt.rule || !strings.Contains(got.Reason, tt.reason) {
				t.Fatalf("got %d by %s of %s: %q\nwant %d by %s of %s: %q", got.Desired, got.Rule, got.Metric, got.Reason, tt.desired, tt.rule, tt.metric, tt.reason)
			}
		})
	}
}

func TestEvaluate_Readings(t *testing.T) {
	in := evaluation(by(wadi.Concurrency, wadi.CPU), running(4), loaded(wadi.Concurrency, 25), loaded(wadi.CPU, 500), func(in *scheduler.EvalInput) {
		in.Loads.CPU.Coverage, in.Loads.CPU.Sampled = 0.75, true
	})
	got, st := scheduler.Evaluate(in)
	want := []wadi.Reading{
		{Metric: wadi.Concurrency, Stable: 25, Panic: 25, Target: 10, Coverage: 1, PanicCoverage: 1, Wanted: 3, Valid: true},
		{Metric: wadi.CPU, Stable: 500, Panic: 500, Target: 80, Coverage: 0.75, PanicCoverage: 1, Wanted: 7, Valid: true},
	}
	if diff := cmp.Diff(want, got.Readings); diff != "" {
		t.Error(diff)
	}
	if got.Stable != 500 || got.Coverage != 0.75 || got.Target != 80 || got.Wanted != 7 || !got.Sampled {
		t.Errorf("%+v", got)
	}
	if len(st) != 2 {
		t.Errorf("memory of %d metrics", len(st))
	}
	alone := evaluation(by(wadi.CPU), running(1), loaded(wadi.Concurrency, 5))
	if got, _ := scheduler.Evaluate(alone); len(got.Readings) != 2 || got.Readings[1].Target != 0 || got.Readings[1].Wanted != 1 {
		t.Errorf("got %+v, want one instance for any request, and no number for it", got.Readings)
	}
	// The memory of a removed metric is dropped; that of an unknown one stays.
	in.Scaling.Metrics = in.Scaling.Metrics[1:]
	in.Loads.CPU = scheduler.Averages{}
	in.Deciders = wadi.Deciders{wadi.RPS: {Started: true}, wadi.CPU: {Started: true, HighestInPanic: 9}}
	_, st = scheduler.Evaluate(in)
	if _, ok := st[wadi.RPS]; ok || st[wadi.CPU].HighestInPanic != 9 {
		t.Errorf("%+v", st)
	}
	if len(in.Deciders) != 2 {
		t.Error("the given memory was changed")
	}
	in = evaluation(func(in *scheduler.EvalInput) { in.Deciders[wadi.RPS] = wadi.Decider{Started: true} })
	if _, st = scheduler.Evaluate(in); len(st) != 1 {
		t.Errorf("nothing else changed, and what is no metric any more stayed: %+v", st)
	}
}

// Every part of the memory is kept up to date.
func TestEvaluate_Remembers(t *testing.T) {
	in := evaluation(loaded(wadi.Concurrency, 350))
	for _, second := range []float64{1000, 1002, 1004} {
		in.Now = at(second)
		before := in.Deciders[wadi.Concurrency]
		_, in.Deciders = scheduler.Evaluate(in)
		st := in.Deciders[wadi.Concurrency]
		if !st.PanicSince.Equal(in.Now) || st.PanicSince.Equal(before.PanicSince) {
			t.Errorf("at %v: %+v", second, st)
		}
	}
	loaded(wadi.Concurrency, 0)(&in)
	in.Scaling.DownDelay = wadi.Duration(10 * time.Second)
	in.Now = at(1065) // Panic is over; only the delay changes.
	_, in.Deciders = scheduler.Evaluate(in)
	in.Now = at(1068)
	_, next := scheduler.Evaluate(in)
	if got := next[wadi.Concurrency].Delay; got[len(got)-1].Index != 534 {
		t.Errorf("%+v", got)
	}
}

func TestEvaluate_Schedules(t *testing.T) {
	// at(1000) is 00:16:40.
	schedules := []wadi.Schedule{{Name: "office", Cron: "15 0 * * *", Duration: wadi.Duration(10 * time.Minute), Min: 3}}
	clock, err := calendar.New(schedules)
	if err != nil {
		t.Fatal(err)
	}
	scheduled := func(in *scheduler.EvalInput) { in.Scaling.Schedules, in.Calendar = schedules, clock }
	floor := wadi.Bound{Count: 3, By: "schedule", Name: "office", Until: at(1500)}
	for _, tt := range []struct {
		name    string
		set     func(*scheduler.EvalInput)
		desired int
		rule    string
		reason  string
		floor   wadi.Bound
	}{
		{"raises", running(0), 3, "schedule", "; but schedule office asks for at least 3: 3 instances", floor},
		{"keeps", func(in *scheduler.EvalInput) { in.Count, in.Ready, in.Loads.Concurrency.Idle = 3, 3, time.Hour }, 3, "schedule", "", floor},
		{"below min", func(in *scheduler.EvalInput) { in.Scaling.Min = 5 }, 5, "min", "", wadi.Bound{Count: 5, By: "min"}},
		{"above max", func(in *scheduler.EvalInput) { in.Scaling.Max = 2 }, 2, "schedule", "", wadi.Bound{Count: 2, By: "schedule", Name: "office", Until: at(1500)}},
		{"over", func(in *scheduler.EvalInput) { in.Now = at(1500) }, 1, "idle", "", wadi.Bound{}},
		{"not routed", func(in *scheduler.EvalInput) { in.Routed = false; in.Loads.Concurrency.Idle = time.Minute }, 0, "unrouted", "", wadi.Bound{}},
		{"new", func(in *scheduler.EvalInput) { in.WasReady = false; in.Scaling.Initial = 4 }, 4, "initial", "", wadi.Bound{Count: 4, By: "initial"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, _ := scheduler.Evaluate(evaluation(scheduled, tt.set))
			if got.Desired != tt.desired || got.Rule != tt.rule || !strings.Contains(got.Reason, tt.reason) {
				t.Fatalf("got %d by %s: %q\nwant %d by %s: %q", got.Desired, got.Rule, got.Reason, tt.desired, tt.rule, tt.reason)
			}
			if diff := cmp.Diff(tt.floor, got.Floor); diff != "" {
				t.Fatal(diff)
			}
			if got.Floor.Count > 0 && !got.ZeroAt.IsZero() {
				t.Error("zero is announced above a floor")
			}
		})
	}
	in := evaluation(scheduled, running(0))
	if scheduler.AtRest(&in) {
		t.Error("at rest below its floor")
	}
	if in.Now = at(1500); !scheduler.AtRest(&in) {
		t.Error("not at rest after the schedule")
	}
}

func TestEvaluate_Hold(t *testing.T) {
	type I = scheduler.EvalInput
	override := func(n int) func(*I) {
		return func(in *I) { in.Override = wadi.Override{Count: n, Until: at(1600), By: "eve"} }
	}
	rest := func(in *I) { in.Loads.Concurrency.Idle = time.Second }
	for _, tt := range []struct {
		name    string
		set     []func(*I)
		desired int
		rule    string
		reason  string
		whyNot  string
	}{
		{"above the load", []func(*I){override(5), loaded(wadi.Concurrency, 1)}, 5, "override", "overridden to 5 for 10m more by eve (the load wants 1): 5 instances", ""},
		{"below the load", []func(*I){override(1), running(4), loaded(wadi.Concurrency, 250)}, 1, "override", "(the load wants 4)", ""},
		{"below min", []func(*I){override(1), running(4), func(in *I) { in.Scaling.Min = 3 }}, 1, "override", "", ""},
		{"not above max", []func(*I){override(5), func(in *I) { in.Scaling.Max = 3 }}, 3, "max", "but max is 3: 3 instances", ""},
		{"not above the ceiling", []func(*I){override(500)}, 100, "ceiling", "", ""},
		{"nothing is known", []func(*I){override(5), func(in *I) { in.ReadyKnown = false }}, 5, "override", "overridden to 5 for 10m more by eve: 5 instances", ""},
		{"lowered on holes", []func(*I){override(2), running(5), func(in *I) { in.Loads.Concurrency.Partial = true }}, 2, "override", "", ""},
		{"zero at rest", []func(*I){override(0), rest}, 0, "override", "overridden to 0 for 10m more by eve (the load wants 0): 0 instances", ""},
		{"zero and requests in flight", []func(*I){override(0), running(3), loaded(wadi.Concurrency, 5)}, 1, "idle", "but requests may be in flight: keeps 1 instance", ""},
		{"zero and not wakeable", []func(*I){override(0), rest, func(in *I) { in.Wakeable = false }}, 1, "not_wakeable", "but no activator could wake it", ""},
		{"zero and woken just now", []func(*I){override(0), func(in *I) { in.Loads.Concurrency.Idle, in.Raised = time.Minute, at(999.5) }}, 1, "fresh", "", ""},
		{"zero and woken a while ago", []func(*I){override(0), func(in *I) { in.Loads.Concurrency.Idle, in.Raised = time.Minute, at(999) }}, 0, "override", "", ""},
		{"zero stays", []func(*I){override(0), running(0), loaded(wadi.Concurrency, 5)}, 0, "override", "", ""},
		{"over", []func(*I){override(5), rest, func(in *I) { in.Override.Until = at(1000) }}, 1, "idle", "", ""},
		{"not routed", []func(*I){override(5), rest, func(in *I) { in.Routed = false }}, 0, "unrouted", "", ""},
		{"failed", []func(*I){override(5), func(in *I) { in.Failed = true }}, 0, "failed", "", ""},
		{"dry run", []func(*I){override(5), func(in *I) { in.Scaling.DryRun = true }}, 5, "override", "", "dry_run"},
		{"set in Nomad as well", []func(*I){override(5), func(in *I) { in.ByHandUntil = at(1010) }}, 5, "override", "", "the count was set by hand in Nomad and is kept for 10s more"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := evaluation(tt.set...)
			got, _ := scheduler.Evaluate(in)
			if got.Desired != tt.desired || got.Rule != tt.rule || !strings.Contains(got.Reason, tt.reason) || got.WhyNot != tt.whyNot || !got.Valid {
				t.Fatalf("got %d by %s: %q, %q\nwant %d by %s: %q, %q", got.Desired, got.Rule, got.Reason, got.WhyNot, tt.desired, tt.rule, tt.reason, tt.whyNot)
			}
			if got.Rule == "override" && !got.OverrideUntil.Equal(at(1600)) {
				t.Errorf("overridden until %v", got.OverrideUntil)
			}
		})
	}
	in := evaluation(override(2), running(0))
	if scheduler.AtRest(&in) {
		t.Error("at rest below an override")
	}
	if in.Override.Count = 0; !scheduler.AtRest(&in) {
		t.Error("not at rest at an override of zero")
	}
}

func TestEvaluate_ZeroAt(t *testing.T) {
	in := evaluation(func(in *scheduler.EvalInput) {
		in.Loads.Concurrency.Idle, in.Scaling.ZeroGrace = 50*time.Second, wadi.Duration(15*time.Second)
	})
	if got, _ := scheduler.Evaluate(in); !got.ZeroAt.Equal(at(1025)) {
		t.Errorf("zero at %v, want in 25s", got.ZeroAt)
	}
	in.Loads.Concurrency.Idle = time.Hour
	if got, _ := scheduler.Evaluate(in); !got.ZeroAt.Equal(at(1000)) || got.Desired != 0 {
		t.Errorf("zero at %v, want now: %+v", got.ZeroAt, got)
	}
	in.Scaling.Min = 1
	if got, _ := scheduler.Evaluate(in); !got.ZeroAt.IsZero() {
		t.Errorf("zero at %v, with a floor", got.ZeroAt)
	}
}

// With any metrics, overrides, schedules and bounds: never above the
// ceiling, never below the floor unless overridden, never lowered on unknown data,
// never to zero with a request in flight, and more load never wants fewer.
func TestEvaluate_Properties(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	all := []wadi.Metric{wadi.Concurrency, wadi.RPS, wadi.CPU, wadi.Memory}
	for range 3000 {
		var some []wadi.Metric
		for _, m := range all {
			if rng.IntN(2) == 0 {
				some = append(some, m)
			}
		}
		in := evaluation(by(some...), running(rng.IntN(10)), func(in *scheduler.EvalInput) {
			in.Routed, in.WasReady, in.Wakeable = rng.IntN(5) > 0, rng.IntN(5) > 0, rng.IntN(5) > 0
			in.Scaling.Min, in.Scaling.Max, in.Scaling.Initial = rng.IntN(3), rng.IntN(8), rng.IntN(3)
			in.Scaling.PanicThresholdPercent = 110 + float64(rng.IntN(300))
			if rng.IntN(4) == 0 {
				in.Override = wadi.Override{Count: rng.IntN(12), Until: at(1100)}
			}
			if rng.IntN(3) == 0 {
				in.Loads.Concurrency.Idle = time.Duration(rng.IntN(90)) * time.Second
			}
			for _, m := range all {
				a := in.Loads.Of(m)
				a.Coverage, a.Partial = min(1, rng.Float64()*2), rng.IntN(4) == 0
				if a.Stable, a.Panic = rng.ExpFloat64()*40, rng.ExpFloat64()*60; in.Loads.Concurrency.Idle > 0 && m.OfRequests() {
					a.Stable, a.Panic = 0, 0
				}
			}
		})
		in.Loads.RPS.Partial = in.Loads.Concurrency.Partial // They come from the same sources.
		d, _ := scheduler.Evaluate(in)
		overridden := in.Override.Active(in.Now) && in.Routed
		top := 100
		if in.Scaling.Max > 0 {
			top = in.Scaling.Max
		}
		partial := in.Loads.Concurrency.Partial
		switch {
		case d.Desired > max(top, in.Count), d.Desired > top && d.Desired > in.Count:
			t.Fatalf("above %d: %+v", top, d)
		case in.Routed && d.Valid && !overridden && d.Desired < min(in.Scaling.Min, top):
			t.Fatalf("below %d: %+v", in.Scaling.Min, d)
		case !overridden && d.Rule != scheduler.RuleUnrouted && d.Desired < in.Count && partial:
			t.Fatalf("lowered on holes: %+v", d)
		case in.Count > 0 && d.Desired == 0 && in.Loads.Concurrency.Idle < time.Second:
			t.Fatalf("zero with a request in flight: %+v", d)
		}
		more := in
		for _, m := range all {
			more.Loads.Of(m).Stable += rng.Float64() * 30
			more.Loads.Of(m).Panic += rng.Float64() * 30
		}
		if dm, _ := scheduler.Evaluate(more); dm.Valid && d.Valid && dm.Desired < d.Desired {
			t.Fatalf("more load, fewer instances:\n%+v\n%+v", d, dm)
		}
	}
}
