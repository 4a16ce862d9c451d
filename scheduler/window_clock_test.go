package scheduler_test

import (
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

const day = 24 * time.Hour

// The clock of the machine where a service was submitted, or of an instance's, is five
// minutes ahead: their load still counts.
func TestWindows_BornInTheFuture(t *testing.T) {
	w := scheduler.NewWindows(at(400), minute)
	w.SourceUp("i1", wadi.SourceInstance, at(400))
	if got := averages(w, 100); got.Idle != 0 {
		t.Errorf("idle for %v before anything is known", got.Idle)
	}
	if got := averages(w, 110); !got.Partial || got.Coverage == 1 {
		t.Errorf("a source that has not reported yet: coverage %v, want less than 1", got.Coverage)
	}
	w.Report("i1", 0, stats(120, busy(100, 120, 12, 0)...), at(120.1))
	want(t, averages(w, 120.2), 12, 12, 1, false, 120)
}

// A clock that is set back shifts all records with it: the load stays the same, and idle
// time goes on.
func TestWindows_ClockSetBack(t *testing.T) {
	w := windows("i1", "i2")
	w.Report("i1", 0, stats(100, busy(40, 100, 7, 0)...), at(100.1))
	w.Report("i2", 0, stats(100, busy(40, 100, 5, 0)...), at(100.1))
	w.SourceDown("i2", at(100))
	want(t, averages(w, 100.2), 12, 12, 1, false, 100)

	back := func(second float64) time.Time { return at(second).Add(-day) }
	got := w.Averages(back(100.3), minute, 6*time.Second, wadi.Concurrency)
	if got.Stable != 12 || got.Panic != 12 || got.Partial {
		t.Errorf("just after: %+v, want 12 of complete data", got)
	}
	w.Report("i1", 100, stats(130), back(130.1))
	got = w.Averages(back(130.2), minute, 6*time.Second, wadi.Concurrency)
	if got.Stable != 6 || got.Panic != 0 || got.Idle != 30*time.Second || got.Partial {
		t.Errorf("half a minute later: %+v, want 6, and idle for 30s", got)
	}
}

// A memory from the future, of a leader with a clock ahead or from before the clock was
// set back, lasts no longer than one from now.
func TestDecide_MemoryOfTheFuture(t *testing.T) {
	s := settings(func(s *scheduler.Settings) { s.DownDelay = 10 * time.Second })
	ahead := at(86400)
	_, st := scheduler.Decide(s, wadi.Decider{}, scheduler.Input{Stable: 1000, Panic: 1000, Ready: 1}, ahead)
	if st.PanicSince.IsZero() {
		t.Fatal("it does not panic")
	}
	out, st := scheduler.Decide(s, st, scheduler.Input{Stable: 1, Panic: 1, Ready: 1}, at(0))
	if out.Rule == scheduler.RuleDownDelay {
		t.Errorf("the delay of another day holds: %+v", out)
	}
	out, _ = scheduler.Decide(s, st, scheduler.Input{Stable: 1, Panic: 1, Ready: 1}, at(s.StableWindow.Seconds()+1))
	if out.Panicking {
		t.Errorf("it panics for more than a window: %+v", out)
	}
}
