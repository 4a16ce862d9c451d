package scheduler_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

// many names n instances.
func many(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("i%d", i)
	}
	return ids
}

// inTurns are windows of instances with a load from second 40 on. All have reported up to
// second 100, and the first of them up to second 103.
func inTurns(all, reporting int, load func(i int) float64) *scheduler.Windows {
	ids := many(all)
	w := windows(ids...)
	for i, id := range ids {
		w.Report(id, 0, stats(100, busy(40, 100, load(i), 0)...), at(100.1))
		w.Defer(id, at(105))
	}
	for i, id := range ids[:reporting] {
		w.Report(id, 100, stats(103, busy(100, 103, load(i), 0)...), at(103.1))
		w.Defer(id, at(106))
	}
	return w
}

func TestSampling(t *testing.T) {
	two := func(int) float64 { return 2 }
	for _, tt := range []struct {
		name       string
		w          func() *scheduler.Windows
		now        float64
		stable     float64
		panic      float64
		partial    bool
		sampled    bool
		end        float64
		wholeCover bool
	}{
		{"the mean stands for those not due", func() *scheduler.Windows {
			return inTurns(300, 100, two)
		}, 103.2, 600, 600, false, true, 103, true},
		{"the mean is of those in turn", func() *scheduler.Windows {
			// In seconds 100 to 102 the reporting instances had 2, and all others 4 before.
			return inTurns(300, 100, func(i int) float64 { return map[bool]float64{true: 2, false: 4}[i < 100] })
		}, 103.2, (57*1000 + 3*600) / 60.0, 800, false, true, 103, true},
		{"enough have told", func() *scheduler.Windows { return inTurns(300, 20, two) }, 103.2, 600, 600, false, true, 103, true},
		{"too few have told", func() *scheduler.Windows {
			return inTurns(300, 19, two)
		}, 103.2, (57*600 + 3*38) / 60.0, (3*600 + 3*38) / 6.0, true, false, 103, false},
		{"idle ones are known", func() *scheduler.Windows {
			w := inTurns(300, 100, two)
			for i := range 50 {
				id := fmt.Sprintf("idle%d", i)
				w.SourceUp(id, wadi.SourceInstance, at(-3600))
				w.Report(id, 0, stats(100), at(100.1))
				w.OpenPoll(id)
			}
			return w
		}, 104.2, 600, 600, false, true, 103, true},
		{"others are known by themselves", func() *scheduler.Windows {
			w := inTurns(300, 100, two)
			w.SourceUp("a1", wadi.SourceActivator, at(-3600))
			w.Report("a1", 0, stats(103, busy(40, 103, 70, 0)...), at(103.1))
			w.SourceUp("i", wadi.SourceInstance, at(-3600))
			w.Report("i", 0, stats(103, busy(40, 103, 5, 0)...), at(103.1))
			return w
		}, 103.2, 675, 675, false, true, 103, true},
		{"an activator takes no turns", func() *scheduler.Windows {
			w := inTurns(300, 100, two)
			w.SourceUp("a1", wadi.SourceActivator, at(-3600))
			w.Report("a1", 0, stats(100, busy(40, 100, 60, 0)...), at(100.1))
			w.Defer("a1", at(110))
			return w
		}, 103.2, 657, 630, true, true, 103, false},
		{"what is lost by a restart is not in the mean", func() *scheduler.Windows {
			w := inTurns(300, 100, two)
			for _, id := range many(300)[100:120] { // Their seconds 100 and 101 are lost.
				w.Report(id, 0, wadi.Stats{Boot: "b2", Now: 1, Samples: busy(0, 1, 2, 0)}, at(103.1))
				w.Defer(id, at(106))
			}
			return w
		}, 103.2, (58*600 + 2*560) / 60.0, (4*600 + 2*560) / 6.0, true, true, 103, false},
		{"one that never told takes no turns", func() *scheduler.Windows {
			w := inTurns(300, 100, two)
			w.SourceUp("i", wadi.SourceInstance, at(40))
			w.Defer("i", at(110))
			return w
		}, 103.2, 600, 600, true, true, 103, false},
		{"due, and a little late", func() *scheduler.Windows {
			w := inTurns(300, 100, two)
			for i, id := range many(300)[:299] {
				w.Report(id, 100, stats(106, busy(100, 106, 2, 0)...), at(106.1))
				w.Defer(id, at(110+float64(i%2)))
			}
			return w
		}, 106.9, 600, 600, false, true, 106, true},
		{"late", func() *scheduler.Windows {
			w := inTurns(300, 100, two)
			for _, id := range many(300)[:299] {
				w.Report(id, 100, stats(107, busy(100, 107, 2, 0)...), at(107.05))
				w.Defer(id, at(110))
			}
			return w
		}, 107.1, 600 - 2*7/60.0, 598, true, false, 107, false},
		{"read back when the turn comes", func() *scheduler.Windows {
			w := inTurns(300, 100, func(i int) float64 { return float64(1 + i%2) })
			for i, id := range many(300) {
				w.Report(id, 100, stats(106, busy(100, 106, float64(3*(1+i%2)), 0)...), at(106.1))
			}
			return w
		}, 106.2, (54*450 + 6*1350) / 60.0, 1350, false, false, 106, true},
		{"all at rest in their turn", func() *scheduler.Windows {
			w := inTurns(300, 100, two)
			for _, id := range many(300) {
				w.Report(id, 100, stats(105), at(105.1))
				w.OpenPoll(id)
			}
			return w
		}, 111.2, 600 * 50 / 60.0, 0, false, false, 110, true},
		{"a poll in place of the turn", func() *scheduler.Windows {
			w := inTurns(300, 100, two)
			for _, id := range many(300) {
				w.OpenPoll(id)
			}
			return w
		}, 104.2, (57*600 + 3*200) / 60.0, (3*600 + 3*200) / 6.0, false, false, 103, true},
		{"ended before its turn", func() *scheduler.Windows {
			w := inTurns(300, 100, two)
			w.SourceDown("i299", at(103))
			return w
		}, 103.2, (57*600 + 3*598) / 60.0, 599, false, true, 103, true},
		{"ended long after it told last", func() *scheduler.Windows {
			w := inTurns(300, 100, two)
			w.Defer("i299", at(120))
			w.SourceDown("i299", at(107))
			return w
		}, 107, 0, 0, true, false, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := averages(tt.w(), tt.now)
			if got.Partial != tt.partial || got.Sampled != tt.sampled && !tt.partial {
				t.Errorf("partial %v, sampled %v, want %v, %v", got.Partial, got.Sampled, tt.partial, tt.sampled)
			}
			if whole := got.Coverage == 1 && got.PanicCoverage == 1; whole != tt.wholeCover {
				t.Errorf("covered %g, %g", got.Coverage, got.PanicCoverage)
			}
			if tt.end == 0 {
				return // It must only not count as known.
			}
			if math.Abs(got.Stable-tt.stable) > 1e-5 || math.Abs(got.Panic-tt.panic) > 1e-5 || !got.End.Equal(at(tt.end)) {
				t.Errorf("%g, %g to %v, want %g, %g to %v", got.Stable, got.Panic, got.End, tt.stable, tt.panic, at(tt.end))
			}
		})
	}
}

// A window does not wait for deferred instances, but for enough of those that are due.
func TestSampling_EndsWhereEnoughReported(t *testing.T) {
	w := inTurns(300, 100, func(int) float64 { return 2 })
	for i, id := range many(300)[100:119] {
		w.Report(id, 100, stats(104, busy(100, 104, 2, 0)...), at(104.1+float64(i)/100))
		w.Defer(id, at(107))
	}
	if got := averages(w, 104.4); !got.End.Equal(at(103)) || got.Partial {
		t.Fatalf("19 have told of the last second: %+v", got)
	}
	w.Report("i119", 100, stats(104, busy(100, 104, 2, 0)...), at(104.4))
	w.Defer("i119", at(107))
	if got := averages(w, 104.5); !got.End.Equal(at(104)) || got.Partial || got.Stable != 600 {
		t.Fatalf("20 have told of the last second: %+v", got)
	}
}

// turned is an instance of the property test.
type turned struct {
	id     string
	next   int64 // Its first unreported second.
	due    int64
	silent bool
}

// For any load over time that is the same on all instances, with any number of instances
// and any cycle, the extrapolation is exact. An instance that is late for its turn never
// counts as known.
func TestSampling_EqualLoadIsExact(t *testing.T) {
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 9))
		cycle := 2 + rng.Int64N(6)
		w := windows()
		var live []*turned
		load, there := map[int64]float64{}, map[int64]float64{} // By second: of one, and how many.
		names, wasLate, sampled := 0, int64(-100), 0
		for n := int64(0); n < 130; n++ {
			load[n] = float64(rng.IntN(9))
			for join := rng.IntN(12); join > 0 || len(live) < 150; join-- {
				s := &turned{id: fmt.Sprintf("i%d", names), next: n, due: n + 1}
				names++
				w.SourceUp(s.id, wadi.SourceInstance, at(float64(n)))
				w.Report(s.id, 0, stats(n), at(float64(n)))
				w.Defer(s.id, at(float64(s.due)))
				live = append(live, s)
			}
			there[n] = float64(len(live))
			now := n + 1 // Second n is over.
			late := false
			kept := live[:0]
			for _, s := range live {
				leaves := !s.silent && rng.IntN(40) == 0
				switch {
				case s.due > now && !leaves:
				case s.silent || seed%2 == 0 && !leaves && rng.IntN(300) == 0:
					if s.silent = true; rng.IntN(8) == 0 {
						s.silent, s.due = false, now+1
						w.Report(s.id, s.next, reported(s, now, load), at(float64(now)+0.1))
						s.next = now
						w.Defer(s.id, at(float64(s.due)))
					}
				default:
					w.Report(s.id, s.next, reported(s, now, load), at(float64(now)+0.1))
					s.next, s.due = now, now+1+rng.Int64N(cycle)
					if s.due <= now+cycle/2 { // Half of them at least are read within half a cycle.
						s.due = now + 1
					}
					w.Defer(s.id, at(float64(s.due)))
				}
				late = late || s.silent && s.due+2 <= now
				if leaves {
					w.SourceDown(s.id, at(float64(now)+0.2))
				} else {
					kept = append(kept, s)
				}
			}
			live = kept
			if late {
				wasLate = n
			}
			got := averages(w, float64(now)+0.5)
			if late && (!got.Partial || got.Coverage == 1) {
				t.Fatalf("seed %d, second %d: one is late, and it is not partial: %+v", seed, n, got)
			}
			if got.Partial && wasLate < n && n > 1 {
				t.Fatalf("seed %d, second %d: nobody is late, and it is partial: %+v", seed, n, got)
			}
			end := got.End.Unix()
			var sum float64
			for k := end - 60; k < end; k++ {
				sum += load[k] * there[k]
			}
			if want := sum / 60; got.Partial && got.Stable > want+1e-5 || !got.Partial && math.Abs(got.Stable-want) > 1e-5 {
				t.Fatalf("seed %d, second %d: %g, want %g: %+v", seed, n, got.Stable, want, got)
			}
			if got.Sampled {
				sampled++
			}
		}
		if sampled < 90 {
			t.Fatalf("seed %d: only %d evaluations were sampled", seed, sampled)
		}
	}
}

// reported is an instance's report at now of its unreported seconds.
func reported(s *turned, now int64, load map[int64]float64) wadi.Stats {
	var samples []wadi.Sample
	for n := s.next; n < now; n++ {
		samples = append(samples, wadi.Sample{N: n, Concurrency: load[n]})
	}
	return stats(now, samples...)
}

// A load that differs between instances is right on average, and better as their
// turns come: their reports count as they are.
func TestSampling_UnequalLoad(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	const n, cycle = 600, 6
	w, ids := windows(many(n)...), many(n)
	load, total, next := make([]float64, n), 0.0, make([]int64, n)
	for i := range load {
		load[i] = math.Round(rng.ExpFloat64() * 100)
		total += load[i]
	}
	for now := int64(100); now < 200; now++ {
		for i, id := range ids {
			if now == 100 || now%cycle == int64(i%cycle) {
				w.Report(id, next[i], stats(now, busy(next[i], now, load[i], 0)...), at(float64(now)+0.1))
				next[i] = now
				w.Defer(id, at(float64(now+cycle)))
			}
		}
		got := averages(w, float64(now)+0.5)
		if got.Partial || got.Sampled != (now > 100) || got.Idle != 0 {
			t.Fatalf("at %d: %+v", now, got)
		}
		if d := math.Abs(got.Stable/total - 1); d > 0.02 {
			t.Errorf("at %d: %g, want %g: %.1f%% off", now, got.Stable, total, d*100)
		}
	}
}

// BenchmarkTurns is the averages of a thousand instances that take turns.
func BenchmarkTurns(b *testing.B) {
	w := inTurns(1000, 100, func(int) float64 { return 2 })
	b.ReportAllocs()
	for b.Loop() {
		w.Averages(at(103.2), minute, 6*time.Second, wadi.Concurrency)
	}
}
