package scheduler_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// settings are a spec's defaults: 70 of 100 concurrent requests, over 60s.
func settings(change ...func(*scheduler.Settings)) scheduler.Settings {
	s := scheduler.Settings{
		TargetValue: 70, TotalValue: 100, MaxUpRate: 1000, MaxDownRate: 2, PanicThreshold: 2,
		StableWindow: time.Minute, PanicWindow: 6 * time.Second, Activation: 1, Reachable: true,
	}
	for _, f := range change {
		f(&s)
	}
	return s
}

func at(seconds float64) time.Time {
	return time.Unix(0, 0).Add(time.Duration(seconds * float64(time.Second)))
}

func TestDecide_OneStep(t *testing.T) {
	type S = scheduler.Settings
	for _, tt := range []struct {
		name          string
		set           func(*S)
		stable, panic float64
		ready         int
		want          int
		panicking     bool
		rule          string
		excess        float64
	}{
		{name: "nothing", ready: 0, want: 0, rule: "load"},
		{name: "exactly one target", stable: 70, panic: 70, ready: 1, want: 1, rule: "load"},
		{name: "a little more than one target", stable: 70.1, panic: 70.1, ready: 1, want: 2, panicking: true, rule: "panic"},
		{name: "the smallest load wants one", stable: 0.001, panic: 0, ready: 1, want: 1, rule: "load"},
		{name: "below panic: the stable window decides", stable: 141, panic: 210, ready: 2, want: 3, rule: "load"},
		{name: "at the threshold: panic", stable: 70, panic: 280, ready: 2, want: 4, panicking: true, rule: "panic"},
		{name: "in panic the stable window may want more", stable: 700, panic: 140, ready: 1, want: 10, panicking: true, rule: "panic"},
		{name: "no instance counts as one", stable: 0, panic: 140, ready: 0, want: 2, panicking: true, rule: "panic"},
		{name: "down by at most half", stable: 1, panic: 1, ready: 9, want: 4, rule: "down_rate"},
		{name: "down from one to zero", ready: 1, want: 0, rule: "load"},
		{name: "down from two to one", ready: 2, want: 1, rule: "down_rate"},
		{name: "down rate is truncated", set: func(s *S) { s.MaxDownRate = 1.5 }, ready: 4, want: 2, rule: "down_rate"},
		{name: "not routed: no down rate", set: func(s *S) { s.Reachable = false }, ready: 9, want: 0, rule: "load"},
		{name: "up rate", set: func(s *S) { s.MaxUpRate = 2; s.PanicThreshold = 1000 }, stable: 700, panic: 700, ready: 3, want: 6, rule: "up_rate"},
		{name: "up rate rounds up", set: func(s *S) { s.MaxUpRate = 1.1; s.PanicThreshold = 1000 }, stable: 700, ready: 3, want: 4, rule: "up_rate"},
		{name: "panic is judged before the up rate", set: func(s *S) { s.MaxUpRate = 1 }, stable: 0, panic: 700, ready: 3, want: 3, panicking: true, rule: "panic"},
		{name: "activation", set: func(s *S) { s.Activation = 3 }, stable: 1, panic: 1, ready: 1, want: 3, rule: "activation"},
		{name: "activation is above the up rate", set: func(s *S) { s.Activation = 30; s.MaxUpRate = 10 }, stable: 1, ready: 1, want: 30, rule: "activation"},
		{name: "activation does not wake", set: func(s *S) { s.Activation = 3 }, ready: 0, want: 0, rule: "load"},
		{name: "activation by the panic window alone", set: func(s *S) { s.Activation = 5 }, panic: 141, ready: 1, want: 5, panicking: true, rule: "panic"},
		{name: "down rate holds before activation", set: func(s *S) { s.Activation = 3 }, ready: 8, want: 4, rule: "down_rate"},
		{name: "burst without bound", set: func(s *S) { s.BurstCapacity = -1 }, ready: 1, excess: -1, rule: "load"},
		{name: "burst covered", set: func(s *S) { s.BurstCapacity = 50 }, stable: 1, panic: 20.5, ready: 1, want: 1, excess: 29, rule: "load"},
		{name: "burst not covered", set: func(s *S) { s.BurstCapacity = 200 }, stable: 1, panic: 20.5, ready: 1, want: 1, excess: -121, rule: "load"},
		{name: "burst counts ready, not one", set: func(s *S) { s.BurstCapacity = 200 }, ready: 0, excess: -200, rule: "load"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := settings()
			if tt.set != nil {
				tt.set(&s)
			}
			st := scheduler.NewDecider(0, at(0))
			got, _ := scheduler.Decide(s, st, scheduler.Input{Stable: tt.stable, Panic: tt.panic, Ready: tt.ready}, at(2))
			if got.Desired != tt.want || got.Panicking != tt.panicking || got.Rule != tt.rule || got.ExcessBurst != tt.excess || !got.Valid {
				t.Fatalf("got %+v, want %d instances by %s, panicking %v, excess %v", got, tt.want, tt.rule, tt.panicking, tt.excess)
			}
		})
	}
}

// step is one evaluation of a trace.
type step struct {
	t             float64
	stable, panic float64
	ready         int
	want          int
	panicking     bool
}

func run(t *testing.T, s scheduler.Settings, st wadi.Decider, steps []step) wadi.Decider {
	t.Helper()
	for _, step := range steps {
		var got scheduler.Output
		got, st = scheduler.Decide(s, st, scheduler.Input{Stable: step.stable, Panic: step.panic, Ready: step.ready}, at(step.t))
		if got.Desired != step.want || got.Panicking != step.panicking {
			t.Fatalf("at %gs: got %d, panicking %v (%s); want %d, %v", step.t, got.Desired, got.Panicking, got.Reason, step.want, step.panicking)
		}
	}
	return st
}

func TestDecide_PanicHoldsTheHighest(t *testing.T) {
	st := run(t, settings(), scheduler.NewDecider(1, at(0)), []step{
		{2, 70, 350, 1, 5, true},   // 5/1 ≥ 2.
		{4, 140, 280, 5, 5, true},  // 4/5 < 2: goes on, keeps 5.
		{6, 490, 490, 5, 7, true},  // Grows, though 7/5 < 2: since stays 2s.
		{62, 0, 0, 7, 7, true},     // 2 + 60 is not before 62.
		{62.1, 0, 0, 7, 3, false},  // It is now; half of 7.
		{64, 70, 420, 3, 6, true},  // Panics anew: the old highest is forgotten.
		{124, 0, 840, 6, 12, true}, // Prolongs at 12/6.
		{184, 0, 0, 12, 12, true},
		{184.001, 0, 0, 12, 6, false},
	})
	if st.HighestInPanic != 0 || !st.PanicSince.IsZero() {
		t.Fatalf("after panic: %+v", st)
	}
}

func TestDecide_StartsInPanicWithSeveralReady(t *testing.T) {
	run(t, settings(), scheduler.NewDecider(4, at(0)), []step{
		{2, 0, 0, 4, 4, true},
		{60, 0, 0, 4, 4, true},
		{60.5, 0, 0, 4, 2, false},
	})
	run(t, settings(), scheduler.NewDecider(1, at(0)), []step{{2, 0, 0, 1, 0, false}})

	// A zero memory starts at its first evaluation.
	run(t, settings(), wadi.Decider{}, []step{{100, 0, 0, 4, 4, true}, {160, 0, 0, 4, 4, true}, {161, 0, 0, 4, 2, false}})
}

func TestDecide_DownDelay(t *testing.T) {
	delayed := func(d time.Duration) scheduler.Settings {
		return settings(func(s *scheduler.Settings) { s.DownDelay = d; s.PanicThreshold = 100 })
	}
	t.Run("three buckets", func(t *testing.T) { // ceil(5/2) = 3 buckets.
		run(t, delayed(5*time.Second), scheduler.NewDecider(1, at(0)), []step{
			{2, 350, 0, 5, 5, false}, // Bucket 1.
			{4, 210, 0, 5, 5, false}, // Bucket 2, of 3.
			{7.9, 0, 0, 1, 5, false}, // Bucket 3: 1 is two old.
			{8, 0, 0, 1, 3, false},   // Bucket 4: 1 has left, 2 counts.
			{10, 0, 0, 1, 0, false},  // Bucket 5: 2 has left.
		})
	})
	t.Run("the highest of a bucket", func(t *testing.T) {
		run(t, delayed(2*time.Second), scheduler.NewDecider(1, at(0)), []step{
			{4, 350, 0, 5, 5, false},
			{5.9, 70, 0, 5, 5, false}, // The same bucket; 5/2 = 2.
			{6, 70, 0, 5, 2, false},
		})
	})
	t.Run("not when unrouted", func(t *testing.T) {
		s := delayed(time.Minute)
		st := run(t, s, scheduler.NewDecider(1, at(0)), []step{{2, 350, 0, 5, 5, false}})
		s.Reachable = false
		run(t, s, st, []step{{4, 0, 0, 5, 0, false}})
	})
	t.Run("before 1970", func(t *testing.T) {
		run(t, delayed(2*time.Second), scheduler.NewDecider(1, at(-10)), []step{
			{-3, 350, 0, 5, 5, false},
			{-2.5, 0, 0, 1, 5, false}, // Both in [-4, -2).
			{-2, 0, 0, 1, 0, false},
		})
	})
}

func TestDecide_LeavesTheMemoryItWasGiven(t *testing.T) {
	s := settings(func(s *scheduler.Settings) { s.DownDelay = 10 * time.Second })
	_, st := scheduler.Decide(s, scheduler.NewDecider(1, at(0)), scheduler.Input{Stable: 700, Ready: 1}, at(2))
	before := wadi.Decider{Started: st.Started, HighestInPanic: st.HighestInPanic, Delay: append([]wadi.DelayBucket(nil), st.Delay...)}
	scheduler.Decide(s, st, scheduler.Input{Stable: 7000, Ready: 1}, at(2.5))
	scheduler.Decide(s, st, scheduler.Input{Stable: 70, Ready: 1}, at(4))
	if diff := cmp.Diff(before, st); diff != "" {
		t.Fatal(diff)
	}
}

func TestDecide_ExtremesDoNotOverflow(t *testing.T) {
	huge := []float64{0, -1, 1e300, math.MaxFloat64, math.Inf(1), math.Inf(-1)}
	for _, stable := range huge {
		for _, peak := range huge {
			for _, ready := range []int{0, 1, 1 << 30, math.MaxInt} {
				s := settings(func(s *scheduler.Settings) { s.MaxUpRate, s.BurstCapacity, s.DownDelay = 1e18, 1, time.Minute })
				got, _ := scheduler.Decide(s, scheduler.NewDecider(1, at(0)), scheduler.Input{Stable: stable, Panic: peak, Ready: ready}, at(2))
				if got.Desired < 0 || math.IsInf(got.ExcessBurst, 0) || math.IsNaN(got.ExcessBurst) {
					t.Fatalf("stable %g, panic %g, ready %d: %+v", stable, peak, ready, got)
				}
				if stable == math.Inf(1) && got.Desired < 1e9 {
					t.Fatalf("an endless load wants only %d", got.Desired)
				}
			}
		}
	}
}

func TestDecide_NaNChangesNothing(t *testing.T) {
	st := scheduler.NewDecider(5, at(0))
	for _, in := range []scheduler.Input{{Stable: math.NaN(), Ready: 9}, {Panic: math.NaN(), Ready: 9}} {
		got, after := scheduler.Decide(settings(), st, in, at(100))
		if got.Valid || cmp.Diff(st, after) != "" {
			t.Fatalf("got %+v, %+v", got, after)
		}
	}
}

// More load never wants fewer instances, whatever came before.
func TestDecide_MonotoneInLoad(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		s := settings(func(s *scheduler.Settings) {
			s.TargetValue, s.MaxUpRate, s.MaxDownRate = 1+rng.Float64()*100, 1.1+rng.Float64()*10, 1.1+rng.Float64()*3
			s.Activation, s.DownDelay = rng.IntN(4), time.Duration(rng.IntN(20))*time.Second
		})
		less, more := scheduler.NewDecider(1, at(0)), scheduler.NewDecider(1, at(0))
		for i := range 60 {
			ready := rng.IntN(20)
			a := scheduler.Input{Stable: rng.Float64() * 500, Panic: rng.Float64() * 900, Ready: ready}
			b := scheduler.Input{Stable: a.Stable + rng.Float64()*50, Panic: a.Panic + rng.Float64()*50, Ready: ready}
			var lo, hi scheduler.Output
			lo, less = scheduler.Decide(s, less, a, at(float64(2*i)))
			hi, more = scheduler.Decide(s, more, b, at(float64(2*i)))
			if hi.Desired < lo.Desired {
				t.Fatalf("%+v: %v wants %d, %v wants %d", s, a, lo.Desired, b, hi.Desired)
			}
		}
	}
}

func TestSettingsOf(t *testing.T) {
	for _, tt := range []struct {
		name          string
		m             wadi.MetricTarget
		limit         int
		total, target float64
	}{
		{"nothing set", wadi.MetricTarget{Metric: wadi.Concurrency, Utilization: 0.7}, 0, 100, 70},
		{"limit alone", wadi.MetricTarget{Metric: wadi.Concurrency, Utilization: 0.7}, 10, 10, 7},
		{"limit above the default", wadi.MetricTarget{Metric: wadi.Concurrency, Utilization: 0.7}, 1000, 1000, 700},
		{"target alone", wadi.MetricTarget{Metric: wadi.Concurrency, Utilization: 0.5, Target: 20}, 0, 20, 10},
		{"limit below target", wadi.MetricTarget{Metric: wadi.Concurrency, Utilization: 1, Target: 20}, 10, 10, 10},
		{"target below limit", wadi.MetricTarget{Metric: wadi.Concurrency, Utilization: 1, Target: 5}, 10, 5, 5},
		{"rps", wadi.MetricTarget{Metric: wadi.RPS, Utilization: 0.7}, 10, 200, 140},
		{"rps target", wadi.MetricTarget{Metric: wadi.RPS, Utilization: 0.7, Target: 1000}, 10, 1000, 700},
		{"cpu", wadi.MetricTarget{Metric: wadi.CPU, Utilization: 1}, 10, 80, 80},
		{"memory target", wadi.MetricTarget{Metric: wadi.Memory, Utilization: 0.5, Target: 50}, 10, 50, 25},
		{"tiny", wadi.MetricTarget{Metric: wadi.Concurrency, Utilization: 0.01, Target: 0.1}, 0, 0.1, 0.01},
	} {
		got := scheduler.SettingsOf(&wadi.Scaling{}, tt.m, tt.limit, true)
		if got.TotalValue != tt.total || got.TargetValue != tt.target {
			t.Errorf("%s: total %g, target %g; want %g, %g", tt.name, got.TotalValue, got.TargetValue, tt.total, tt.target)
		}
	}

	got := scheduler.SettingsOf(&wadi.Scaling{
		Activation: 2, Window: wadi.Duration(time.Minute), PanicWindowPercent: 10, PanicThresholdPercent: 200, MaxUpRate: 1000,
		MaxDownRate: 2, DownDelay: wadi.Duration(time.Second), BurstCapacity: -1,
	}, wadi.MetricTarget{Metric: wadi.Concurrency, Target: 10, Utilization: 0.7}, 0, true)
	want := scheduler.Settings{
		Metric: wadi.Concurrency, TargetValue: 7, TotalValue: 10, BurstCapacity: -1, MaxUpRate: 1000, MaxDownRate: 2, PanicThreshold: 2,
		StableWindow: time.Minute, PanicWindow: 6 * time.Second, DownDelay: time.Second, Activation: 2, Reachable: true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPanicWindow(t *testing.T) {
	for _, tt := range []struct {
		window  time.Duration
		percent float64
		want    time.Duration
	}{
		{time.Minute, 10, 6 * time.Second},
		{6 * time.Second, 10, time.Second},
		{14 * time.Second, 10, time.Second},
		{15 * time.Second, 10, 2 * time.Second}, // 1.5 rounds up.
		{time.Hour, 100, time.Hour},
		{6 * time.Second, 1, time.Second},
	} {
		if got := scheduler.PanicWindow(tt.window, tt.percent); got != tt.want {
			t.Errorf("%v%% of %v: got %v, want %v", tt.percent, tt.window, got, tt.want)
		}
	}
}
