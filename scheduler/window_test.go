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

const minute = time.Minute

// windows measures a revision that is an hour old, over a minute.
func windows(ids ...string) *scheduler.Windows {
	w := scheduler.NewWindows(at(-3600), minute)
	for _, id := range ids {
		kind := wadi.SourceInstance
		if id[0] == 'a' {
			kind = wadi.SourceActivator
		}
		w.SourceUp(id, kind, at(-3600))
	}
	return w
}

// stats is a report of a source that counts the reader's seconds.
func stats(now int64, samples ...wadi.Sample) wadi.Stats {
	return wadi.Stats{Boot: "b1", Now: now, Revision: "hello-00001", Samples: samples}
}

// busy is the same load in each second of a range.
func busy(from, to int64, concurrency, proxied float64) []wadi.Sample {
	var out []wadi.Sample
	for n := from; n < to; n++ {
		out = append(out, wadi.Sample{N: n, Concurrency: concurrency, ConcurrencyProxied: proxied, Begun: 2 * concurrency, BegunProxied: 2 * proxied})
	}
	return out
}

func averages(w *scheduler.Windows, now float64) scheduler.Averages {
	return w.Averages(at(now), minute, 6*time.Second, wadi.Concurrency)
}

// want compares all that matters of averages.
func want(t *testing.T, got scheduler.Averages, stable, panic, coverage float64, partial bool, end float64) {
	t.Helper()
	want := scheduler.Averages{Stable: stable, Panic: panic, Coverage: coverage, Partial: partial, End: at(end)}
	got.LastActive, got.Idle, got.Unaccounted, got.Lost, got.PanicLost = time.Time{}, 0, false, 0, 0
	got.Coverage, got.PanicCoverage = math.Round(min(got.Coverage, got.PanicCoverage)*1000)/1000, 0 // The worse of both.
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("averages (-want +got):\n%s", diff)
	}
}

func TestWindows_OneSource(t *testing.T) {
	w := windows("i1")
	w.Report("i1", 0, stats(100, busy(90, 100, 12, 0)...), at(100.1))
	got := averages(w, 100.2)
	want(t, got, 2, 12, 1, false, 100) // 10 of 60 seconds with 12.
	if !got.LastActive.Equal(at(99)) || got.Idle != 0 {
		t.Fatalf("last active %v, idle %v", got.LastActive, got.Idle)
	}

	rps := w.Averages(at(100.2), minute, 6*time.Second, wadi.RPS)
	want(t, rps, 4, 24, 1, false, 100)
}

// A request that comes through an activator is counted there, and only there.
func TestWindows_CountsARequestOnce(t *testing.T) {
	w := windows("i1", "i2", "a1", "a2")
	// 8 requests in the activators, 6 of them at an instance; 3 come directly.
	w.Report("a1", 0, stats(100, busy(40, 100, 5, 0)...), at(100.1))
	w.Report("a2", 0, stats(100, busy(40, 100, 3, 0)...), at(100.1))
	w.Report("i1", 0, stats(100, busy(40, 100, 5, 4)...), at(100.1))
	w.Report("i2", 0, stats(100, busy(40, 100, 4, 2)...), at(100.1))
	want(t, averages(w, 100.2), 11, 11, 1, false, 100)
}

// An instance's proxied requests are activity, even if another source counts them. If
// none does they count at the instance, and a source is known to be missing.
func TestWindows_ProxiedIsActivity(t *testing.T) {
	w := windows("i1")
	w.Report("i1", 0, stats(100, busy(98, 100, 5, 5)...), at(100.1))
	got := averages(w, 100.2)
	want(t, got, micro(10.0/60), micro(10.0/6), 1, true, 100)
	if got.Idle != 0 {
		t.Fatalf("idle %v", got.Idle)
	}
}

// A request that begins and ends at the turn of a second leaves no concurrency.
func TestWindows_BegunIsActivity(t *testing.T) {
	w := windows("i1")
	w.Report("i1", 0, stats(100, wadi.Sample{N: 95, Begun: 1}), at(100.1))
	if got := averages(w, 100.2); got.Idle != 4*time.Second {
		t.Fatalf("idle %v", got.Idle)
	}
}

func TestWindows_EndWhereAllHaveReported(t *testing.T) {
	w := windows("i1", "i2")
	w.Report("i1", 0, stats(100, busy(39, 100, 6, 0)...), at(100.1))
	w.Report("i2", 0, stats(99, busy(39, 99, 6, 0)...), at(99.2))
	want(t, averages(w, 100.2), 12, 12, 1, false, 99)
	want(t, averages(w, 101), 12, 12, 1, false, 99) // Just two seconds old.

	// Later than that, it ends without the late one, and is partial.
	got := averages(w, 101.5)
	want(t, got, micro(6+6*59.0/60), 11, 0.917, true, 100)
	if got.Idle != 0 {
		t.Fatalf("idle %v with a source that does not report", got.Idle)
	}
	// The report comes late, and everything is as if it had not.
	w.Report("i2", 99, stats(100, busy(99, 100, 6, 0)...), at(101.6))
	want(t, averages(w, 101.7), 12, 12, 1, false, 100)
}

func micro(v float64) float64 { return math.Round(v*1e6) / 1e6 }

func TestWindows_MissedScrapesAreReadBack(t *testing.T) {
	w := windows("i1", "a1")
	w.Report("i1", 0, stats(40, busy(0, 40, 6, 0)...), at(40.1))
	for now := int64(41); now <= 100; now++ {
		w.Report("a1", 0, stats(now), at(float64(now)+0.1))
	}
	got := averages(w, 100.2)
	want(t, got, 0, 0, 0.5, true, 100)

	w.Report("i1", 40, stats(100, busy(40, 100, 6, 0)...), at(100.3))
	want(t, averages(w, 100.4), 6, 6, 1, false, 100)
}

func TestWindows_ReportsMayOverlapAndOvertake(t *testing.T) {
	w := windows("i1")
	w.Report("i1", 0, stats(102, busy(40, 102, 6, 0)...), at(102.1))
	w.Report("i1", 0, stats(100, busy(40, 100, 6, 0)...), at(102.2)) // Asked before, answered later.
	w.Report("i1", 50, stats(102, busy(50, 102, 6, 0)...), at(102.3))
	want(t, averages(w, 102.4), 6, 6, 1, false, 102)
}

func TestWindows_OpenPollCountsAsZero(t *testing.T) {
	w := windows("i1")
	w.Report("i1", 0, stats(100, busy(98, 100, 30, 0)...), at(100.1))
	w.OpenPoll("i1")
	got := averages(w, 120.5)
	want(t, got, 1, 0, 1, false, 119)
	if got.Idle != 19*time.Second {
		t.Fatalf("idle %v", got.Idle)
	}

	t.Run("answered", func(t *testing.T) {
		w.Report("i1", 100, stats(121, busy(120, 121, 30, 0)...), at(121.1))
		want(t, averages(w, 121.2), 1.5, 5, 1, false, 121)
	})
	t.Run("broken by the source", func(t *testing.T) {
		w.OpenPoll("i1")
		w.ClosePoll("i1", at(130))
		want(t, averages(w, 130.5), 1.5, 0, 1, false, 129)
		want(t, averages(w, 134.5), 1.5, 0, 0.167, true, 134) // The panic window lacks five of six.
	})
}

func TestWindows_UnansweredPollProvesNothing(t *testing.T) {
	w := windows("i1", "a1")
	w.Report("i1", 0, stats(100), at(100.1))
	w.Report("a1", 0, stats(130), at(130.1))
	w.OpenPoll("i1")
	want(t, averages(w, 130.5), 0, 0, 1, false, 129)
	w.ClosePoll("i1", time.Time{})
	got := averages(w, 130.5)
	want(t, got, 0, 0, 0.5, true, 130)
	if got.Idle != 0 {
		t.Fatalf("idle %v", got.Idle)
	}
}

func TestWindows_NewRevision(t *testing.T) {
	w := scheduler.NewWindows(at(95), minute)
	got := averages(w, 95.5)
	want(t, got, 0, 0, 0, true, 95) // Nothing measures it: unknown.

	w.SourceUp("a1", wadi.SourceActivator, at(95))
	got = averages(w, 95.5)
	want(t, got, 0, 0, 1, false, 95) // It has not seen a second yet.

	w.Report("a1", 0, stats(100, busy(97, 100, 10, 0)...), at(100.1))
	want(t, averages(w, 100.2), 6, 6, 1, false, 100) // 30 over 5 seconds: those before do not count.
}

func TestWindows_InstanceThatStarts(t *testing.T) {
	w := windows("a1")
	w.Report("a1", 0, stats(100), at(100.1))
	w.SourceUp("i1", wadi.SourceInstance, at(99.5))
	want(t, averages(w, 100.2), 0, 0, 1, false, 99)
	w.Report("a1", 100, stats(103), at(103.1))
	want(t, averages(w, 103.2), 0, 0, 0.6, true, 103) // 4 of 10 seconds of the panic window.
	w.Report("i1", 0, stats(0), at(103.3))            // Its process has just begun.
	want(t, averages(w, 103.4), 0, 0, 1, false, 103)
}

func TestWindows_KeepLonger(t *testing.T) {
	w := windows("i1")
	for n := int64(1); n <= 400; n++ {
		w.Report("i1", n-1, stats(n, busy(n-1, n, 6, 0)...), at(float64(n)+0.1))
	}
	w.Keep(5 * time.Minute)
	long := func() scheduler.Averages {
		return w.Averages(at(400.2), 5*time.Minute, 30*time.Second, wadi.Concurrency)
	}
	if got := long(); !got.Partial || got.Coverage > 0.25 {
		t.Fatalf("what was dropped is known: %+v", got)
	}
	w.Report("i1", 0, stats(400, busy(0, 400, 6, 0)...), at(400.2))
	want(t, long(), 6, 6, 1, false, 400)
}

// However reports are cut, repeated and delayed, the average is that of the trace, and
// missing data make it partial.
func TestWindows_AnyCutOfReports(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	for range 200 {
		w := windows("i1", "i2")
		load := map[string][]float64{"i1": nil, "i2": nil}
		next := map[string]int64{}
		for n := int64(0); n < 150; n++ {
			for _, id := range []string{"i1", "i2"} {
				v := 0.0
				if rng.IntN(3) > 0 {
					v = float64(rng.IntN(100))
				}
				load[id] = append(load[id], v)
				if rng.IntN(3) > 0 {
					continue // Missed.
				}
				since := max(0, next[id]-int64(rng.IntN(3)))
				var samples []wadi.Sample
				for k := since; k <= n; k++ {
					if load[id][k] > 0 {
						samples = append(samples, wadi.Sample{N: k, Concurrency: load[id][k]})
					}
				}
				w.Report(id, since, stats(n+1, samples...), at(float64(n)+1.05))
				next[id] = n + 1
			}
			got := averages(w, float64(n)+1.1)
			end := got.End.Unix()
			missing := next["i1"] < end || next["i2"] < end
			if n > 2 && got.Partial != missing {
				t.Fatalf("second %d: partial %v, reported %v, end %d", n, got.Partial, next, end)
			}
			var sum float64
			for k := max(0, end-60); k < end; k++ {
				if k < next["i1"] {
					sum += load["i1"][k]
				}
				if k < next["i2"] {
					sum += load["i2"][k]
				}
			}
			if n > 2 && math.Abs(got.Stable-sum/60) > 1e-6 {
				t.Fatalf("second %d: %g, want %g", n, got.Stable, sum/60)
			}
		}
	}
}
