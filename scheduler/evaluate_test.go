package scheduler_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// evaluation is the input of a routed revision with one ready instance, the defaults of a
// spec, complete data, and a decider that does not panic.
func evaluation(change ...func(*scheduler.EvalInput)) scheduler.EvalInput {
	in := scheduler.EvalInput{
		Revision: "hello-00001", Now: at(1000),
		Scaling: &wadi.Scaling{
			Initial: 1, Activation: 1, Window: wadi.Duration(time.Minute), PanicWindowPercent: 10, PanicThresholdPercent: 200,
			MaxUpRate: 1000, MaxDownRate: 2,
			Metrics: []wadi.MetricTarget{{Metric: wadi.Concurrency, Target: 100, Utilization: 0.7}},
		},
		Ceiling: 100, Routed: true, WasReady: true, Wakeable: true, ReadyKnown: true,
		Count: 1, Ready: 1,
		Loads:    scheduler.Loads{Concurrency: scheduler.Averages{Coverage: 1, PanicCoverage: 1, End: at(1000)}},
		Deciders: wadi.Deciders{wadi.Concurrency: scheduler.NewDecider(1, at(0))},
	}
	for _, f := range change {
		f(&in)
	}
	return in
}

func TestEvaluate_Rules(t *testing.T) {
	type I = scheduler.EvalInput
	idle := func(seconds int) func(*I) {
		return func(in *I) { in.Loads.Concurrency.Idle = time.Duration(seconds) * time.Second }
	}
	load := func(v float64) func(*I) {
		return func(in *I) { in.Loads.Concurrency.Stable, in.Loads.Concurrency.Panic = v, v }
	}
	have := func(count, ready int) func(*I) {
		return func(in *I) { in.Count, in.Ready, in.Starting = count, ready, count-ready }
	}
	begun := func(began, ready int) func(*I) {
		return func(in *I) {
			in.Start.Began, in.Progress = at(float64(began)), 10*time.Minute
			if ready > 0 {
				in.Start.Ready = at(float64(ready))
			}
		}
	}
	for _, tt := range []struct {
		name    string
		set     []func(*I)
		desired int
		rule    string
		reason  string
		whyNot  string
	}{
		{"load", []func(*I){load(12.4)}, 1, "load", "12.4 requests at once on average over 60s, 70 wanted per instance: 1 instance", ""},
		{"panic", []func(*I){load(350)}, 5, "panic",
			"panic, 1 ready: 350 requests at once on average over 6s, 70 wanted per instance: 5 instances, and not fewer before 60s of calm", ""},
		{"down rate", []func(*I){have(8, 8), load(1)}, 4, "down_rate",
			"1 request at once on average over 60s, 70 wanted per instance: 4 instances, the fewest in one step from 8 ready (max_down_rate 2)", ""},
		{"max", []func(*I){load(700), func(in *I) { in.Scaling.Max = 3 }}, 3, "max",
			"panic, 1 ready: 700 requests at once on average over 6s, 70 wanted per instance: 10 instances, and not fewer before 60s of calm; but max is 3: 3 instances", ""},
		{"agent's ceiling", []func(*I){load(70000)}, 100, "ceiling", "; but the agent allows at most 100 (limits.max_instances): 100 instances", ""},
		{"ceiling below max", []func(*I){load(70000), func(in *I) { in.Scaling.Max = 500 }}, 100, "ceiling", "; but the agent allows at most 100 (limits.max_instances): 100 instances", ""},
		{"min", []func(*I){idle(600), func(in *I) { in.Scaling.Min = 2 }}, 2, "min", "; but min is 2: 2 instances", ""},
		{"initial", []func(*I){have(0, 0), func(in *I) { in.WasReady = false; in.Scaling.Initial = 3 }}, 3, "initial",
			"; a new revision begins with 3 instances (initial)", ""},
		{"initial no longer", []func(*I){idle(60), func(in *I) { in.Scaling.Initial = 3 }}, 0, "zero", "no request for 60s: 0 instances", ""},
		{"initial below min", []func(*I){have(0, 0), func(in *I) { in.WasReady = false; in.Scaling.Min = 2 }}, 2, "min", "", ""},
		{"warming", []func(*I){func(in *I) { in.Warming = 5 }}, 5, "warming", "its share of the traffic grows, and needs them first: 5 instances", ""},
		{"warming from zero, unmeasured", []func(*I){have(0, 0), func(in *I) { in.Warming = 3; in.Loads.Concurrency.Coverage = 0 }}, 3, "warming", "", ""},
		{"warming while idle", []func(*I){idle(60), func(in *I) { in.Warming = 2 }}, 2, "warming", "", ""},
		{"warming below min", []func(*I){have(0, 0), func(in *I) { in.Warming = 2; in.Scaling.Min = 3 }}, 3, "min", "", ""},
		{"warming above max", []func(*I){have(0, 0), func(in *I) { in.Warming = 9; in.Scaling.Max = 2 }}, 2, "warming", "", ""},
		{"initial above max", []func(*I){have(0, 0), func(in *I) { in.WasReady = false; in.Scaling.Initial = 3; in.Scaling.Max = 2 }}, 2, "initial", "", ""},
		{"initial of zero", []func(*I){have(0, 0), func(in *I) { in.WasReady = false; in.Scaling.Initial = 0 }}, 0, "load", "", ""},

		{"zero", []func(*I){idle(60)}, 0, "zero", "no request for 60s: 0 instances", ""},
		{"not idle for long enough", []func(*I){idle(59)}, 1, "idle", "no request for 59s, zero after 60s: keeps 1 instance", ""},
		{"grace", []func(*I){idle(89), func(in *I) { in.Scaling.ZeroGrace = wadi.Duration(30 * time.Second) }}, 1, "idle",
			"no request for 89s, zero after 90s: keeps 1 instance", ""},
		{"grace is over", []func(*I){idle(90), func(in *I) { in.Scaling.ZeroGrace = wadi.Duration(30 * time.Second) }}, 0, "zero", "", ""},
		{"not wakeable", []func(*I){idle(600), func(in *I) { in.Wakeable = false; in.WhyNotWakeable = "the resolver is somebody else's" }}, 1, "not_wakeable",
			"not wakeable from zero: the resolver is somebody else's: keeps 1 instance", ""},
		{"not wakeable does not raise", []func(*I){idle(600), have(0, 0), func(in *I) { in.Wakeable = false }}, 0, "load", "", ""},
		{"idle does not raise", []func(*I){idle(5), have(0, 0)}, 0, "load", "", ""},
		{"idle and partial", []func(*I){func(in *I) { in.Loads.Concurrency.Partial = true }}, 1, "partial", "idle, but not every source has reported: keeps 1 instance", ""},

		{"partial does not lower", []func(*I){have(5, 5), load(70), func(in *I) { in.Loads.Concurrency.Partial = true }}, 5, "partial",
			"; but not every source has reported: stays at 5", ""},
		{"partial may raise", []func(*I){have(1, 1), load(75), func(in *I) { in.Loads.Concurrency.Partial = true }}, 2, "panic", "", ""},
		{"half is enough", []func(*I){load(75), func(in *I) { in.Loads.Concurrency.Coverage = 0.5 }}, 2, "panic", "", ""},
		{"less than half is not", []func(*I){load(75), func(in *I) { in.Loads.Concurrency.Coverage = 0.49 }}, 1, "invalid", "only 49% of the window is known: nothing changes", ""},
		{"nor of the panic window", []func(*I){load(75), func(in *I) { in.Loads.Concurrency.PanicCoverage = 0.3 }}, 1, "invalid", "only 30% of the window is known: nothing changes", ""},
		{"ready unknown", []func(*I){idle(600), func(in *I) { in.ReadyKnown = false }}, 1, "invalid", "how many instances are ready is not known: nothing changes", ""},
		{"infinite", []func(*I){load(math.Inf(1))}, 1, "invalid", "the measured load is not a number: nothing changes", ""},
		{"new and unmeasured", []func(*I){have(0, 0), func(in *I) { in.WasReady = false; in.Loads.Concurrency.Coverage = 0 }}, 1, "initial", "a new revision begins with 1 instance (initial)", ""},
		{"min is not raised unmeasured", []func(*I){func(in *I) { in.Loads.Concurrency.Coverage = 0; in.Scaling.Min = 5 }}, 1, "invalid", "", ""},

		{"raised just now", []func(*I){idle(600), func(in *I) { in.Raised = at(999.5) }}, 1, "fresh", "; but that was measured before it was raised: stays at 1", ""},
		{"raised a while ago", []func(*I){idle(600), func(in *I) { in.Raised = at(999) }}, 0, "zero", "", ""},
		{"starting", []func(*I){idle(600), have(1, 0), begun(970, 0)}, 1, "starting",
			"no request, but an instance is starting, for 9m30s more at most (timeout.progress): keeps 1 instance", ""},
		{"starting, of several", []func(*I){idle(600), have(2, 0), begun(970, 0)}, 1, "starting", "", ""},
		{"starting for too long", []func(*I){idle(700), have(1, 0), begun(400, 0)}, 0, "zero", "no request for 11m40s: 0 instances", ""},
		{"a start that failed", []func(*I){idle(600), have(1, 0), begun(970, 0), func(in *I) { in.StartFailed = true }}, 0, "zero", "", ""},
		{"starting, though nobody is to come", []func(*I){idle(600), have(1, 0), begun(970, 0), func(in *I) { in.Routed = false }}, 0, "unrouted", "", ""},
		{"ready just now", []func(*I){idle(600), begun(970, 995)}, 1, "idle", "no request since it became ready 5s ago, zero after 60s: keeps 1 instance", ""},
		{"ready for long enough", []func(*I){idle(600), begun(900, 940)}, 0, "zero", "no request for 60s: 0 instances", ""},
		{"ready before its last request", []func(*I){idle(30), begun(900, 940)}, 1, "idle", "no request for 30s, zero after 60s: keeps 1 instance", ""},
		{"ready in the future", []func(*I){idle(600), begun(900, 1200)}, 1, "idle", "no request since it became ready 0s ago, zero after 60s: keeps 1 instance", ""},
		{"ready once, and not now", []func(*I){idle(600), have(1, 0), begun(900, 940)}, 0, "zero", "", ""},
		{"what starts counts as coming", []func(*I){have(5, 1), load(140)}, 2, "panic", "", ""},
		{"one need raises once", []func(*I){have(2, 1), load(140)}, 2, "panic", "", ""},

		{"unrouted and at rest", []func(*I){have(5, 5), idle(1), func(in *I) { in.Routed = false; in.Scaling.Min = 3 }}, 0, "unrouted",
			"no traffic goes to it, and nothing is in flight: 0 instances", ""},
		{"unrouted, at rest, its window still full", []func(*I){have(5, 5), load(140), idle(1), func(in *I) { in.Routed = false }}, 0, "unrouted", "", ""},
		{"unrouted and never ready", []func(*I){idle(1), func(in *I) { in.Routed, in.WasReady = false, false }}, 0, "unrouted", "", ""},
		{"unrouted, and the new route not carried", []func(*I){idle(1), func(in *I) { in.Routed, in.Wakeable = false, false }}, 1, "not_wakeable",
			"no traffic is to go to it, but no activator could wake it: keeps 1 instance", ""},
		{"never ready need not be wakeable", []func(*I){idle(1), func(in *I) { in.Routed, in.Wakeable, in.WasReady = false, false, false }}, 0, "unrouted", "", ""},
		{"unrouted and busy", []func(*I){have(9, 9), load(70), func(in *I) { in.Routed = false }}, 1, "load", "", ""},
		{"unrouted and not quite at rest", []func(*I){have(9, 9), func(in *I) { in.Routed = false }}, 1, "idle",
			"no traffic goes to it, but requests are in flight: keeps 1 instance", ""},
		{"failed", []func(*I){load(700), func(in *I) { in.Failed = true; in.Loads.Concurrency.Coverage = 0; in.Scaling.Min = 3 }}, 0, "failed", "it did not become ready in time: 0 instances", ""},

		{"dry run", []func(*I){idle(600), func(in *I) { in.Scaling.DryRun = true }}, 0, "zero", "", "dry_run"},
		{"dry run without a change", []func(*I){load(1), func(in *I) { in.Scaling.DryRun = true }}, 1, "load", "", ""},
		{"held", []func(*I){idle(600), func(in *I) { in.ByHandUntil = at(1042) }}, 0, "zero", "", "the count was set by hand in Nomad and is kept for 42s more"},
		{"held no longer", []func(*I){idle(600), func(in *I) { in.ByHandUntil = at(1000) }}, 0, "zero", "", ""},
		{"rps", []func(*I){load(12), func(in *I) {
			in.Scaling.Metrics = []wadi.MetricTarget{{Metric: wadi.RPS, Target: 10, Utilization: 0.7}}
			in.Loads.RPS = in.Loads.Concurrency
		}}, 2, "panic", "12 requests per second on average over 6s, 7 wanted per instance", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := evaluation(tt.set...)
			got, _ := scheduler.Evaluate(in)
			if got.Desired != tt.desired || got.Rule != tt.rule || got.WhyNot != tt.whyNot || !strings.Contains(got.Reason, tt.reason) {
				t.Fatalf("got %d by %s: %q, why not %q\nwant %d by %s: %q, %q",
					got.Desired, got.Rule, got.Reason, got.WhyNot, tt.desired, tt.rule, tt.reason, tt.whyNot)
			}
			if change := scheduler.Change(&got); change != (tt.desired != in.Count && tt.whyNot == "") {
				t.Fatalf("change %v: %+v", change, got)
			}
		})
	}
}

func TestEvaluate_Decision(t *testing.T) {
	in := evaluation(func(in *scheduler.EvalInput) {
		in.Loads.Concurrency = scheduler.Averages{Stable: 100, Panic: 140, Coverage: 0.75, PanicCoverage: 1, End: at(1000)}
		in.Starting, in.Count = 1, 2
	})
	got, st := scheduler.Evaluate(in)
	want := wadi.Decision{
		Time: at(1000), Revision: "hello-00001", Metric: wadi.Concurrency, Stable: 100, Panic: 140, Target: 70,
		Coverage: 0.75, PanicCoverage: 1, Ready: 1, Starting: 1, Count: 2, Wanted: 2, Desired: 2, Panicking: true, Valid: true,
		Ceiling: wadi.Bound{Count: 100, By: "ceiling"}, PanicSince: at(1000), ZeroAt: at(1060), Rule: "panic", Times: 1,
		Reason: "panic, 1 ready: 140 requests at once on average over 6s, 70 wanted per instance: 2 instances, and not fewer before 60s of calm",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	wantState := wadi.Deciders{wadi.Concurrency: {Started: true, PanicSince: at(1000), HighestInPanic: 2}}
	if diff := cmp.Diff(wantState, st); diff != "" {
		t.Error(diff)
	}
}

// The memory has what the load wanted, without bounds.
func TestEvaluate_MemoryIsUnbounded(t *testing.T) {
	in := evaluation(func(in *scheduler.EvalInput) {
		in.Scaling.Max, in.Scaling.DownDelay = 2, wadi.Duration(10*time.Second)
		in.Loads.Concurrency.Stable, in.Loads.Concurrency.Panic = 700, 700
	})
	got, st := scheduler.Evaluate(in)
	if got.Desired != 2 || got.Wanted != 10 || st[wadi.Concurrency].HighestInPanic != 10 || st[wadi.Concurrency].Delay[0].Max != 10 {
		t.Fatalf("%+v, %+v", got, st)
	}
}

func TestEvaluate_InvalidLeavesTheMemory(t *testing.T) {
	in := evaluation(func(in *scheduler.EvalInput) { in.ReadyKnown = false; in.Deciders = nil })
	got, st := scheduler.Evaluate(in)
	if got.Valid || len(st) > 0 {
		t.Fatalf("%+v, %+v", got, st)
	}
}

// With any measurements: never above the ceiling, never lowered on data that is
// partial or too little, never to zero before the idle time.
func TestEvaluate_Invariants(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	flip := func() bool { return rng.IntN(2) == 0 }
	for range 300 {
		in := evaluation()
		in.Deciders = nil
		for i := range 50 {
			in.Now = at(float64(1000 + 2*i))
			in.Routed, in.Wakeable, in.WasReady = rng.IntN(5) > 0, flip(), flip()
			in.Scaling.Min, in.Scaling.Max = rng.IntN(3), rng.IntN(8)
			in.Scaling.Activation, in.Ceiling = rng.IntN(4), 1+rng.IntN(10)
			in.Count = rng.IntN(10)
			in.Ready = rng.IntN(in.Count + 1)
			in.ReadyKnown = rng.IntN(10) > 0
			in.Loads.Concurrency = scheduler.Averages{Coverage: rng.Float64() * 2, PanicCoverage: 1, Partial: flip(), End: in.Now}
			if flip() {
				in.Loads.Concurrency.Stable, in.Loads.Concurrency.Panic = rng.ExpFloat64()*200, rng.ExpFloat64()*400
			} else {
				in.Loads.Concurrency.Idle = time.Duration(rng.IntN(90)) * time.Second
			}
			var d wadi.Decision
			d, in.Deciders = scheduler.Evaluate(in)
			top := in.Ceiling
			if in.Scaling.Max > 0 {
				top = min(top, in.Scaling.Max)
			}
			switch {
			case d.Desired > max(top, in.Count), d.Desired > top && !in.Loads.Concurrency.Partial && d.Valid:
				t.Fatalf("above the ceiling of %d: %+v", top, d)
			case d.Desired < in.Count && (!in.ReadyKnown || in.Loads.Concurrency.Coverage < 0.5):
				t.Fatalf("lowered without data: %+v", d)
			case d.Desired < in.Count && in.Loads.Concurrency.Partial && d.Rule != scheduler.RuleUnrouted:
				t.Fatalf("lowered by partial data: %+v", d)
			case d.Desired == 0 && in.Count > 0 && in.Routed && (in.Loads.Concurrency.Idle < time.Minute || !in.Wakeable):
				t.Fatalf("zero too early: %+v", d)
			case d.Reason == "" || d.Rule == "":
				t.Fatalf("no reason: %+v", d)
			}
		}
	}
}

// The whole cycle of measuring, deciding and executing: a load begins, stays and ends.
func TestEvaluate_Story(t *testing.T) {
	w := windows("a1", "i1")
	in := evaluation(func(in *scheduler.EvalInput) { in.Now = at(0); in.Deciders = nil })
	load := func(s int) float64 {
		if s >= 10 && s < 100 {
			return 200
		}
		return 0
	}
	counts := map[int]int{}
	for s := 0; s < 320; s++ {
		var samples []wadi.Sample
		if v := load(s); v > 0 {
			samples = []wadi.Sample{{N: int64(s), Concurrency: v, Begun: v}}
		}
		w.Report("i1", int64(s), stats(int64(s)+1, samples...), at(float64(s)+1.05))
		w.Report("a1", int64(s), stats(int64(s)+1), at(float64(s)+1.05))
		if s%2 == 0 {
			continue
		}
		in.Now = at(float64(s) + 1.1)
		in.Loads.Concurrency = w.Averages(in.Now, time.Minute, 6*time.Second, wadi.Concurrency)
		var d wadi.Decision
		d, in.Deciders = scheduler.Evaluate(in)
		in.Count, in.Ready = d.Desired, d.Desired
		counts[s] = d.Desired
	}
	for s, want := range map[int]int{9: 0, 11: 1, 13: 2, 15: 3, 99: 3, 131: 2, 157: 1, 159: 0, 319: 0} {
		if counts[s] != want {
			t.Errorf("at second %d: %d instances, want %d", s, counts[s], want)
		}
	}
}
