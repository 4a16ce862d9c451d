package scheduler_test

import (
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
)

func TestWindows_SourceEnds(t *testing.T) {
	load := func() *scheduler.Windows {
		w := windows("i1", "a1")
		w.Report("i1", 0, stats(70, busy(40, 70, 12, 0)...), at(70.1))
		w.Report("a1", 0, stats(100), at(100.1))
		return w
	}
	t.Run("counts zero from then on", func(t *testing.T) {
		w := load()
		w.SourceDown("i1", at(71.5))
		got := averages(w, 100.2)
		want(t, got, 6, 0, 1, false, 100)
		if got.Idle != 30*time.Second {
			t.Fatalf("idle %v", got.Idle)
		}
	})
	t.Run("long silence before it is partial", func(t *testing.T) {
		w := load()
		w.SourceDown("i1", at(90))
		got := averages(w, 100.2)
		want(t, got, 6, 0, 0.818, true, 100) // 20 of its 50 and of 110 seconds.
		if got.Idle != 10*time.Second {
			t.Fatalf("idle %v", got.Idle)
		}
		w.Report("a1", 100, stats(150), at(150.1))
		want(t, averages(w, 150.2), 0, 0, 1, false, 150) // Out of the window at last.
	})
	t.Run("silence of an open poll is known", func(t *testing.T) {
		w := load()
		w.OpenPoll("i1")
		w.SourceDown("i1", at(90))
		want(t, averages(w, 100.2), 6, 0, 1, false, 100)
	})
	t.Run("its last report comes late", func(t *testing.T) {
		w := load()
		w.SourceDown("i1", at(71.5))
		w.Report("i1", 70, stats(72, busy(70, 72, 12, 0)...), at(72))
		want(t, averages(w, 100.2), 6.4, 0, 1, false, 100)
	})
	t.Run("forgotten, but not that it was active", func(t *testing.T) {
		w := load()
		w.SourceDown("i1", at(71.5))
		w.Report("a1", 100, stats(500), at(500.1))
		got := averages(w, 500.2)
		if !got.LastActive.Equal(at(69)) || got.Idle != 430*time.Second {
			t.Fatalf("last active %v, idle %v", got.LastActive, got.Idle)
		}
	})
	t.Run("comes back", func(t *testing.T) {
		w := load()
		w.SourceDown("i1", at(71.5))
		w.SourceUp("i1", wadi.SourceInstance, at(95))
		want(t, averages(w, 100.2), 6, 0, 0.583, true, 100) // 5 of 12 seconds of the panic window.
	})
}

func TestWindows_Restart(t *testing.T) {
	w := windows("i1")
	w.Report("i1", 0, stats(80, busy(40, 80, 6, 0)...), at(80.1))
	// Another process since second 90, of which this is the second 10.
	again := wadi.Stats{Boot: "b2", Now: 10, Samples: busy(0, 10, 6, 0)}
	w.Report("i1", 0, again, at(100.1))
	got := averages(w, 100.2)
	want(t, got, 5, 6, 0.833, true, 100) // 10 seconds are lost.
	w.Report("i1", 10, wadi.Stats{Boot: "b2", Now: 60}, at(150.1))
	got = averages(w, 150.2)
	want(t, got, 1, 0, 1, false, 150)
	if got.Idle != 50*time.Second {
		t.Fatalf("idle %v", got.Idle)
	}
}

// A new process that is asked from a second of the old one has not reported its beginning.
func TestWindows_RestartAskedTooLate(t *testing.T) {
	w := windows("i1")
	w.Report("i1", 0, stats(80), at(80.1))
	w.Report("i1", 80, wadi.Stats{Boot: "b2", Now: 10}, at(100.1))
	if got := averages(w, 100.2); !got.Partial {
		t.Fatal("complete")
	}
	w.Report("i1", 0, wadi.Stats{Boot: "b2", Now: 11}, at(101.1))
	w.Report("i1", 11, wadi.Stats{Boot: "b2", Now: 61}, at(151.1))
	if got := averages(w, 151.2); got.Partial || got.Idle != 61*time.Second {
		t.Fatalf("%+v", got)
	}
}

// The load of two earlier processes in one second counts twice, though the second one's
// clock began a little before the first one's end.
func TestWindows_ProcessesOverlap(t *testing.T) {
	w := windows("i1")
	w.Report("i1", 99, stats(100, busy(99, 100, 4, 0)...), at(100.4))
	second := stats(2, busy(0, 2, 2, 0)...)
	second.Boot = "second"
	w.Report("i1", 0, second, at(100.45)) // Its seconds are 98 and 99.
	third := stats(1)
	third.Boot = "third"
	w.Report("i1", 0, third, at(101.4))
	if got := w.Averages(at(100.5), time.Second, time.Second, wadi.Concurrency); got.Stable != 6 || got.Panic != 6 {
		t.Errorf("got %+v, want 4 + 2 in second 99", got)
	}
}
