package scheduler_test

import (
	"math/rand/v2"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// Instances that got more through activators than those report have an unlisted activator:
// those requests count at the instances, and that activator's queue is unknown.
func TestWindows_ActivatorThatIsNotListed(t *testing.T) {
	for _, tt := range []struct {
		name     string
		queued   float64 // By the known activator.
		proxied  float64 // Of 10 requests at the instance.
		want     float64
		unlisted bool
	}{
		{"all are reported", 10, 10, 10, false},
		{"some wait", 14, 10, 14, false},
		{"about all are reported", 9.5, 10, 9.5, false},
		{"a third is not", 6, 9, 9 + 1, true},
		{"none is", 0, 10, 10, true},
		{"none is proxied", 0, 0, 10, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := windows("i1", "a1")
			w.Report("a1", 0, stats(100, busy(0, 100, tt.queued, 0)...), at(100.1))
			w.Report("i1", 0, stats(100, busy(0, 100, 10, tt.proxied)...), at(100.1))
			got := averages(w, 100.2)
			want(t, got, tt.want, tt.want, 1, tt.unlisted, 100)
			if got.Unaccounted != tt.unlisted {
				t.Errorf("unseen: %v", got.Unaccounted)
			}
		})
	}
}

// Seconds of different sources do not begin together. That alone is no sign of an unlisted
// activator, under a steady load with requests that wait for their instance.
func TestWindows_SecondsDoNotBeginTogether(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	w := windows("i1", "i2", "a1", "a2")
	starts := map[string]float64{}
	for id := range map[string]bool{"i1": true, "i2": true, "a1": true, "a2": true} {
		starts[id] = rng.Float64()
	}
	for n := int64(1); n < 300; n++ {
		for id, begun := range starts {
			load := 4 + rng.Float64()
			proxied := load
			if id[0] == 'a' {
				load, proxied = load+0.3, 0
			}
			w.Report(id, n-1, stats(n, busy(n-1, n, load, proxied)...), at(begun+float64(n)+0.1+rng.Float64()/5))
		}
		if n < 70 {
			continue
		}
		if got := averages(w, float64(n)+1.4); got.Unaccounted {
			t.Fatalf("second %d: %+v", n, got)
		}
	}
}

// An activator died, and what it had queued is unknown. The count can't be lowered until
// the windows have passed, but it can be raised.
func TestWindows_ActivatorThatDiedUnheard(t *testing.T) {
	w := windows("i1", "a1", "a2", "a3")
	report := func(n int64) {
		w.Report("i1", 0, stats(n), at(float64(n)+0.1))
		w.Report("a1", 0, stats(n, busy(0, n, 250, 0)...), at(float64(n)+0.1))
	}
	report(100)
	w.SourceDown("a2", at(100))
	w.SourceDown("a3", at(100))
	evaluate := func(now float64, count int) wadi.Decision {
		in := evaluation(running(count))
		in.Loads.Concurrency = averages(w, now)
		in.Now, in.Raised = at(now), at(0)
		d, _ := scheduler.Evaluate(in)
		return d
	}
	if d := evaluate(100.2, 8); d.Desired != 8 || d.Rule != scheduler.RulePartial {
		t.Errorf("of 8 for a load of 250 and more: %+v", d)
	}
	if d := evaluate(100.2, 1); d.Desired <= 1 {
		t.Errorf("of 1 for a load of 250 and more: %+v", d)
	}
	report(155)
	if d := evaluate(155.2, 8); d.Desired != 8 || d.Rule != scheduler.RulePartial {
		t.Errorf("before the window has passed: %+v", d)
	}
	report(161)
	if got := averages(w, 161.2); got.Partial || got.Coverage != 1 || got.Lost != 0 {
		t.Errorf("a window later: %+v", got)
	}
}

// An activator that existed before its process began had an earlier process, whose queue
// is lost. A new one had no queue.
func TestWindows_SourceThatWasThereBefore(t *testing.T) {
	load := func(seen float64) scheduler.Averages {
		w := windows("i1", "a1")
		w.Report("i1", 0, stats(100), at(100.1))
		w.SourceSeen("a1", at(seen))
		w.Report("a1", 0, stats(10, busy(0, 10, 6, 0)...), at(100.1)) // Its second 0 is 90.
		return averages(w, 100.2)
	}
	want(t, load(10), 1, 6, 0.583, true, 100) // 50 of its 60 seconds are lost, of 120.
	want(t, load(92), 1, 6, 1, false, 100)    // Seen just after it had begun.
	if got := load(10); got.Idle != 0 {
		t.Errorf("idle for %v", got.Idle)
	}

	t.Run("and is taken for dead in between", func(t *testing.T) {
		w := windows("i1", "a1")
		w.SourceSeen("a1", at(-100))
		w.SourceDown("a1", at(85))
		w.Report("i1", 0, stats(100), at(100.1))
		w.SourceUp("a1", wadi.SourceActivator, at(100.1))
		w.Report("a1", 0, stats(10), at(100.1))
		if got := averages(w, 100.2); !got.Partial {
			t.Errorf("%+v", got)
		}
	})
}

// All agents have just restarted, and the queues of their earlier processes are lost. What
// they queue now raises the count at once, however long the windows are.
func TestWindows_AllActivatorsRestarted(t *testing.T) {
	w := windows("i1", "a1", "a2", "a3")
	w.Report("i1", 0, stats(100), at(100.1))
	for _, id := range []string{"a1", "a2", "a3"} {
		w.SourceSeen(id, at(-3600))
		w.Report(id, 0, stats(8, busy(0, 8, 100, 0)...), at(100.1)) // Its second 0 is 92.
	}
	evaluate := func(count int) wadi.Decision {
		in := evaluation(running(count))
		in.Loads.Concurrency = averages(w, 100.2)
		in.Now, in.Raised = at(100.2), at(0)
		d, _ := scheduler.Evaluate(in)
		return d
	}
	if d := evaluate(1); d.Desired <= 1 {
		t.Errorf("of 1 for a load of 300: %+v", d)
	}
	if d := evaluate(30); d.Desired != 30 || d.Rule != scheduler.RulePartial {
		t.Errorf("of 30, when it is not known what was held before: %+v", d)
	}
}
