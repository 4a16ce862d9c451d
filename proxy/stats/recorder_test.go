package stats_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/stats"
)

func TestRecorder_IntegralIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := stats.NewRecorder("alloc", "boot", "hello-00001", time.Hour)
		time.Sleep(250 * time.Millisecond)
		endA := r.Begin(false) // From 0.25 to 2.5.
		time.Sleep(500 * time.Millisecond)
		endB := r.Begin(true) // From 0.75 to 1.125.
		time.Sleep(375 * time.Millisecond)
		endB()
		endB() // Does nothing.
		time.Sleep(1375 * time.Millisecond)
		endA()
		time.Sleep(3 * time.Second)
		r.Begin(false)() // At 5.5, for no time at all.
		time.Sleep(time.Second)

		want := wadi.Stats{Source: "alloc", Boot: "boot", Revision: "hello-00001", Now: 6, Outcomes: &wadi.Outcomes{}, Samples: []wadi.Sample{
			{N: 0, Concurrency: 1, ConcurrencyProxied: .25, Begun: 2, BegunProxied: 1},
			{N: 1, Concurrency: 1.125, ConcurrencyProxied: .125},
			{N: 2, Concurrency: .5},
			{N: 5, Begun: 1},
		}}
		if diff := cmp.Diff(want, r.Snapshot(0)); diff != "" {
			t.Errorf("snapshot (-want +got):\n%s", diff)
		}
		want.Samples = want.Samples[2:]
		if diff := cmp.Diff(want, r.Snapshot(2)); diff != "" {
			t.Errorf("snapshot since 2 (-want +got):\n%s", diff)
		}
		if busy, begun := r.Totals(); busy != 2.625 || begun != 3 {
			t.Errorf("totals %v and %d, want 2.625 and 3", busy, begun)
		}
	})
}

func TestRecorder_SecondIsToldWhenItIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := stats.NewRecorder("", "", "", time.Hour)
		defer r.Begin(false)()
		time.Sleep(time.Second - time.Nanosecond)
		if got := r.Snapshot(0); got.Now != 0 || len(got.Samples) != 0 {
			t.Errorf("before the second is over: %+v", got)
		}
		time.Sleep(time.Nanosecond)
		got := r.Snapshot(0)
		if want := []wadi.Sample{{N: 0, Concurrency: 1, Begun: 1}}; got.Now != 1 || !cmp.Equal(want, got.Samples) {
			t.Errorf("after it: %+v", got)
		}
	})
}

func TestRecorder_KeepsItsHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := stats.NewRecorder("", "", "", 10*time.Second)
		first := func(st wadi.Stats) int64 { return st.Samples[0].N }
		for range 25 {
			r.Begin(false)()
			time.Sleep(time.Second)
		}
		if got := r.Snapshot(0); len(got.Samples) != 10 || first(got) != 15 {
			t.Errorf("%d samples from %d on, want 10 from 15 on", len(got.Samples), first(got))
		}
		end := r.Begin(false) // One request longer than the history, unasked.
		time.Sleep(time.Hour)
		end()
		got := r.Snapshot(0)
		if len(got.Samples) != 10 || first(got) != 25+3600-10 || got.Samples[0].Concurrency != 1 {
			t.Errorf("after an hour: %+v", got)
		}
		if busy, _ := r.Totals(); busy != 3600 {
			t.Errorf("integral %v, want 3600", busy)
		}
		time.Sleep(11 * time.Second)
		if got := r.Snapshot(0); len(got.Samples) != 0 {
			t.Errorf("idle for longer than the history: %+v", got.Samples)
		}
	})
}

func TestRecorder_SharesTheSecondsOfItsClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := stats.NewClock()
		time.Sleep(100 * time.Second)
		r := clock.NewRecorder("a", "b", "c", time.Hour)
		r.Begin(true)()
		time.Sleep(time.Second)
		want := []wadi.Sample{{N: 100, Begun: 1, BegunProxied: 1}}
		if diff := cmp.Diff(want, r.Snapshot(0).Samples); diff != "" {
			t.Errorf("samples (-want +got):\n%s", diff)
		}
	})
}
