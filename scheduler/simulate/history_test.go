package simulate_test

import (
	"math"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler/simulate"
)

// length of the tests' histories, in minutes.
const length = 240

// hours is a history with the same load in each minute that busy accepts.
func hours(busy func(minute int) bool, concurrency, requests, most float64) wadi.LoadHistory {
	var all []wadi.LoadMinute
	for m := range length {
		if busy(m) {
			all = append(all, wadi.LoadMinute{Minute: int64(m), Concurrency: concurrency, Peak: 2 * concurrency, Requests: requests, PeakRate: most})
		}
	}
	return wadi.LoadHistory{}.With(0, length, all)
}

func forecast(t *testing.T, h wadi.LoadHistory, s wadi.Scaling) simulate.Totals {
	t.Helper()
	rule, err := simulate.NewWadi(s, 10, 100)
	if err != nil {
		t.Fatal(err)
	}
	trace := simulate.OfHistory(h).Fill(wadi.Queue{Depth: 1000, Timeout: wadi.Duration(time.Minute)})
	return simulate.Run(trace, rule, time.Hour, func(simulate.Row) {})
}

// usual is a service's scaling.
func usual() wadi.Scaling {
	return wadi.Scaling{Initial: 1, Activation: 1, Window: wadi.Duration(time.Minute), PanicWindowPercent: 10, PanicThresholdPercent: 200, MaxUpRate: 1000, MaxDownRate: 2}
}

// All requests of the history come, in every kind of history.
func TestOfHistory_Requests(t *testing.T) {
	for _, tt := range []struct {
		name                        string
		every                       int
		concurrency, requests, most float64
	}{
		{"one in an hour", 60, 0.002, 1, 1},
		{"now and then", 30, 0.5, 100, 10},
		{"all in one second", 30, 0.5, 100, 100},
		{"busy", 1, 10, 6000, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := forecast(t, hours(func(m int) bool { return m%tt.every == 0 }, tt.concurrency, tt.requests, tt.most), usual())
			want := tt.requests * float64(length/tt.every)
			if math.Abs(float64(got.Requests)-want) > 1+want/1000 {
				t.Errorf("%d requests, want %v", got.Requests, want)
			}
		})
	}
}

// More instances at all times cost more, and let fewer requests wait.
func TestOfHistory_BeforeAndAfter(t *testing.T) {
	h := hours(func(m int) bool { return m%20 < 5 }, 2, 600, 40)
	zero, one := usual(), usual()
	one.Min = 1
	before, after := forecast(t, h, zero), forecast(t, h, one)
	if before.Late == 0 || after.Late >= before.Late || after.InstanceSeconds <= before.InstanceSeconds || after.InstanceSeconds < 60*length {
		t.Errorf("from zero %+v, from one %+v", before, after)
	}
	if before.LongestWait < 5*time.Second {
		t.Errorf("a start from zero takes five seconds, the longest wait %s", before.LongestWait)
	}
}

// A minute in which requests waited for an instance does not make requests longer than they
// are: the usual one counts.
func TestOfHistory_WaitingIsNoWork(t *testing.T) {
	h := hours(func(int) bool { return true }, 1, 600, 12) // A tenth of a second each.
	h.Concurrency[100] = 500                               // 50 s each, most of it in a queue.
	trace := simulate.OfHistory(h)
	longest := time.Duration(0)
	for _, p := range trace.Points {
		longest = max(longest, p.Service)
	}
	if longest != 400*time.Millisecond {
		t.Errorf("a request takes up to %s", longest)
	}
}

// Streams that last for longer than a minute are there for as long as they were.
func TestOfHistory_Streams(t *testing.T) {
	h := hours(func(m int) bool { return m >= 60 && m < 120 }, 35, 0, 0)
	got := forecast(t, h, usual())
	if got.Peak < 4 || got.InstanceSeconds < 3600*4 || got.InstanceSeconds > 3600*10 {
		t.Errorf("35 streams for an hour, 10 in an instance: %+v", got)
	}
}

// Unknown minutes have no load, and an empty history has no trace.
func TestOfHistory_Unknown(t *testing.T) {
	h := wadi.LoadHistory{}.With(0, 1, nil).With(1000, 1001, []wadi.LoadMinute{{Minute: 1000, Concurrency: 1, Requests: 60, PeakRate: 1}})
	if got := forecast(t, h, usual()); got.Requests != 60 || got.Changes == 0 {
		t.Errorf("%+v", got)
	}
	if trace := simulate.OfHistory(wadi.LoadHistory{}); len(trace.Points) != 0 {
		t.Errorf("%+v", trace)
	}
}
