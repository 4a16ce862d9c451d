package control_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
)

func decision(revision string, desired int, reason string) wadi.Decision {
	return wadi.Decision{Time: time.Unix(int64(desired), 0), Revision: revision, Desired: desired, Reason: reason, Valid: true}
}

func TestDecisions_EqualOnesAreOneWithACount(t *testing.T) {
	var d control.History
	for range 5 {
		d.Add(decision("hello-00001", 1, "the same"))
	}
	d.Add(decision("hello-00001", 1, "in other words"))
	d.Add(decision("hello-00001", 2, "another"))
	d.Add(decision("hello-00001", 1, "the same"))
	got := d.Of("hello-00001")
	if len(got) != 3 || got[0].Times != 6 || got[0].Reason != "in other words" || got[1].Times != 1 || got[2].Times != 1 {
		t.Errorf("got %+v, want three entries, six times the first with its latest words", got)
	}
}

func TestDecisions_KeepsTheLatest(t *testing.T) {
	var d control.History
	for i := range 500 {
		d.Add(decision("hello-00001", i, "n"))
	}
	got := d.Of("hello-00001")
	if len(got) != 200 || got[0].Desired != 300 || got[199].Desired != 499 {
		t.Errorf("got %d decisions from %d to %d, want 200 from 300 to 499", len(got), got[0].Desired, got[len(got)-1].Desired)
	}
}

// However many revisions there are, and however long the words: the memory is bounded.
func TestDecisions_BoundedInBytes(t *testing.T) {
	const limit = 4 << 20
	heap := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before := heap()
	d := &control.History{MaxBytes: limit}
	for i := range 100 {
		for r := range 500 {
			d.Add(decision(wadi.RevisionID(fmt.Sprint("s", r), 1), i, strings.Repeat("x", 5000)+fmt.Sprint(i)))
		}
	}
	if got := heap() - before; got > 2*limit {
		t.Errorf("%d KiB kept, want about %d at most", got>>10, limit>>10)
	}
	for r := range 500 {
		if last, ok := d.Last(wadi.RevisionID(fmt.Sprint("s", r), 1)); !ok || last.Desired != 99 {
			t.Fatalf("the last decision about s%d is %+v", r, last)
		}
	}
	if last, _ := d.Last("s1-00001"); len(last.Reason) > 1100 {
		t.Errorf("%d bytes of one reason are kept", len(last.Reason))
	}
	d.Clear()
	if d.Add(decision("hello-00001", 1, "x")); len(d.Of("hello-00001")) != 1 {
		t.Error("nothing is kept after all was forgotten")
	}
}

func TestDecisions_AreMetrics(t *testing.T) {
	var d control.History
	last := decision("hello-00001", 3, "x")
	last.Wanted, last.Ready, last.Starting, last.Stable, last.Panic, last.Panicking, last.Coverage = 4, 1, 2, 250, 300, true, 0.9
	d.Add(last)
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(&d)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if l := f.Metric[0].GetLabel(); l[0].GetValue() != "hello-00001" || l[1].GetValue() != "hello" {
			t.Errorf("%s has labels %v", f.GetName(), l)
		}
		got[strings.TrimPrefix(f.GetName(), "wadi_autoscaler_")] = f.Metric[0].GetGauge().GetValue()
	}
	for name, want := range map[string]float64{
		"desired_instances": 3, "wanted_instances": 4, "ready_instances": 1, "starting_instances": 2,
		"stable_average": 250, "panic_average": 300, "panicking": 1, "window_coverage": 0.9,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v (there: %v), want %v", name, v, ok, want)
		}
	}
}

// However often the last one is renewed, the older ones are not pushed out by it.
func TestDecisions_RenewedTakesNoRoom(t *testing.T) {
	d := &control.History{MaxBytes: 64 << 10}
	for i := range 4 {
		d.Add(decision("hello-00001", i, "n"))
	}
	for range 1000 {
		d.Add(decision("hello-00001", 3, "n"))
	}
	if got := d.Of("hello-00001"); len(got) != 4 || got[3].Times != 1001 {
		t.Errorf("got %d decisions, want the four that there were", len(got))
	}
}

// What was read of a decision stays as it was, and so do older ones: each has its own
// words and readings.
func TestDecisions_OfTheAutoscalerAreNotChangedLater(t *testing.T) {
	led(t, func(t *testing.T, c *cluster, id string, again func() *leader) {
		c.change1(t, func(s *wadi.Stored) {
			s.Service.Scale.Metrics = append(s.Service.Scale.Metrics, wadi.RPS.Default())
			s.Service.Scale.Max = 2
		})
		l := again()
		time.Sleep(20 * time.Second)
		last, _ := l.scaler.History.Last(id)
		if len(last.Readings) != 2 || last.Readings[0].Stable != 5 {
			t.Fatalf("readings %+v, want two of 5", last.Readings)
		}
		for _, load := range []float64{6, 500} {
			c.setLoad(id, load)
			time.Sleep(20 * time.Second)
		}
		if last.Readings[0].Stable != 5 {
			t.Error("a decision that was read has changed since")
		}
		all := l.scaler.History.Of(id)
		if len(all) < 2 {
			t.Fatalf("got %+v, want several decisions", all)
		}
		for _, d := range all {
			if d.Reason == "" || len(d.Readings) != 2 || d.Readings[0].Stable != d.Stable {
				t.Errorf("got %+v, want its own words and readings", d)
			}
		}
		panicking := all[len(all)-1].PanicSince
		stored := l.Services().Services["hello"].State.Revisions[id].Deciders[wadi.Concurrency].PanicSince
		if panicking.IsZero() || panicking.Sub(stored) > 13*time.Second {
			t.Errorf("panic is prolonged until %v, and %v is stored of it", panicking, stored)
		}
	})
}
