package simulate_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler/simulate"
)

// scaling is the defaults of a spec.
func scaling(change ...func(*wadi.Scaling)) wadi.Scaling {
	s := wadi.Scaling{
		Activation: 1, Window: wadi.Duration(time.Minute), PanicWindowPercent: 10, PanicThresholdPercent: 200, MaxUpRate: 1000, MaxDownRate: 2,
		Metrics: []wadi.MetricTarget{{Metric: wadi.Concurrency, Utilization: 0.7}},
	}
	for _, f := range change {
		f(&s)
	}
	return s
}

func trace(t *testing.T, text string) simulate.Trace {
	t.Helper()
	tr, err := simulate.ReadTrace(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return tr.Fill(wadi.Queue{Depth: 1000, Timeout: wadi.Duration(time.Minute)})
}

// simulated returns what stood every second.
func simulated(t *testing.T, tr simulate.Trace, s wadi.Scaling, limit int) ([]simulate.Row, simulate.Totals) {
	t.Helper()
	w, err := simulate.NewWadi(s, limit, 100)
	if err != nil {
		t.Fatal(err)
	}
	var rows []simulate.Row
	totals := simulate.Run(tr, w, time.Second, func(r simulate.Row) { rows = append(rows, r) })
	return rows, totals
}

func TestRun_OneCall(t *testing.T) {
	tr := trace(t, `{"start_up_s": 5, "service_time_s": 0.5}
{"t_s": 10, "rps": 1}
{"t_s": 10.5, "rps": 0}
{"t_s": 200}`)
	tr.Points = append([]simulate.Point{{Service: time.Second}}, tr.Points...)
	rows, got := simulated(t, tr, scaling(func(s *wadi.Scaling) { s.ZeroGrace = wadi.Duration(10 * time.Second) }), 10)
	want := simulate.Totals{Requests: 1, Late: 1, LongestWaitS: 5, LongestWait: 5 * time.Second, Peak: 1, Changes: 2, InstanceSeconds: 76}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(simulate.Totals{})); diff != "" {
		t.Errorf("totals (-want +got):\n%s", diff)
	}
	for second, want := range map[int]int{10: 0, 11: 1, 85: 1, 86: 0, 200: 0} { // 15.5, a minute and the grace; decided at full seconds, every two.
		if got := rows[second].Desired; got != want {
			t.Errorf("at second %d: %d instances (%s), want %d", second, got, rows[second].Reason, want)
		}
	}
}

// Requests that wait for starting instances do not request more instances.
func TestRun_StartingCountAsComing(t *testing.T) {
	rows, got := simulated(t, trace(t, `{"start_up_s": 30, "service_time_s": 1}
{"t_s": 0, "concurrency": 35}
{"t_s": 60}`), scaling(), 10)
	for _, r := range rows[4:] {
		if r.Desired != 5 {
			t.Fatalf("at %v: %d instances, want 5: %s", r.Seconds, r.Desired, r.Reason)
		}
	}
	if got.Refused > 0 {
		t.Errorf("%+v", got)
	}
}

func TestRun_QueueBounds(t *testing.T) {
	tr := trace(t, `{"start_up_s": 5, "service_time_s": 1, "queue_depth": 20, "queue_timeout_s": 2}
{"t_s": 0, "concurrency": 50}
{"t_s": 0.5, "rps": 0}
{"t_s": 10}`)
	_, got := simulated(t, tr, scaling(), 10)
	if got.Requests <= 50 || got.Requests != got.Refused { // Refused clients try again; waiting ones are refused after 2s.
		t.Errorf("%+v", got)
	}
}

// Schedules use the clock of the trace.
func TestRun_Schedule(t *testing.T) {
	rows, _ := simulated(t, trace(t, `{"begin": "2026-11-23T06:59:00Z"}
{"t_s": 0, "rps": 0}
{"t_s": 400}`), scaling(func(s *wadi.Scaling) {
		s.Schedules = []wadi.Schedule{{Name: "office", Cron: "0 8 * * mon-fri", Timezone: "Europe/Berlin", Duration: wadi.Duration(2 * time.Minute), Min: 3}}
	}), 10)
	for second, want := range map[int]int{58: 0, 60: 3, 178: 3, 181: 1, 182: 0, 400: 0} {
		if got := rows[second].Desired; got != want {
			t.Errorf("at second %d: %d instances (%s), want %d", second, got, rows[second].Reason, want)
		}
	}
}

// Over random loads and settings: never above max, never below min, never zero
// with a request inside or within the window, and the same answer every time.
func TestRun_Properties(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for range 20 {
		var text strings.Builder
		at := 0.0
		for range 12 {
			load := []float64{0, 0, 0.05, 3, 80, 400}[rng.IntN(6)]
			fmt.Fprintf(&text, "{\"t_s\": %v, \"rps\": %v, \"service_time_s\": %v, \"ramp\": %t}\n", at, load, []float64{0.01, 0.2, 3}[rng.IntN(3)], rng.IntN(2) == 0)
			at += float64(1 + rng.IntN(200))
		}
		fmt.Fprintf(&text, "{\"t_s\": %v, \"start_up_s\": %d}\n", at, rng.IntN(20))
		s := scaling(func(s *wadi.Scaling) {
			s.Min, s.Max, s.Activation = rng.IntN(3), 3+rng.IntN(20), 1+rng.IntN(3)
			s.Window = wadi.Duration(time.Duration(6+rng.IntN(60)) * time.Second)
			s.DownDelay = wadi.Duration(time.Duration(rng.IntN(2)*rng.IntN(60)) * time.Second)
			if rng.IntN(2) == 0 {
				s.Metrics = append(s.Metrics, wadi.MetricTarget{Metric: wadi.RPS, Target: 50, Utilization: 0.7}, wadi.MetricTarget{Metric: wadi.CPU})
			}
		})
		rows, totals := simulated(t, trace(t, text.String()), s, 10)
		again, totalsAgain := simulated(t, trace(t, text.String()), s, 10)
		if diff := cmp.Diff(rows, again, cmpopts.IgnoreUnexported(simulate.Row{})); diff != "" || totals != totalsAgain {
			t.Fatalf("not the same twice: %s", diff)
		}
		busy := -1000
		for i, r := range rows {
			if r.Load > 0 || r.Waiting > 0 {
				busy = i
			}
			switch {
			case r.Desired > s.Max:
				t.Fatalf("at %v: %d instances, max is %d", r.Seconds, r.Desired, s.Max)
			case r.Desired < s.Min:
				t.Fatalf("at %v: %d instances, min is %d", r.Seconds, r.Desired, s.Min)
			case r.Desired == 0 && i > 0 && rows[i-1].Desired > 0 && float64(i-busy) < s.Window.D().Seconds()-1:
				t.Fatalf("at %v: zero %d s after a request: %s\n%s", r.Seconds, i-busy, r.Reason, text.String())
			}
		}
	}
}

func TestReadTrace_Errors(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", "", "line 0: two lines with t_s are required at least: a load, and when it ends"},
		{"one", `{"t_s": 0, "rps": 1}`, "line 1: two lines with t_s are required at least: a load, and when it ends"},
		{"not JSON", "\nx", "line 2: invalid character 'x' looking for beginning of value"},
		{"unknown", `{"t_s": 0, "rsp": 1}`, `line 1: json: unknown field "rsp"`},
		{"two on a line", `{"t_s": 0} {"t_s": 1}`, "line 1: one object a line is required"},
		{"no time", `{"rps": 1}`, "line 1: t_s is missing: from when on this is the load, in seconds"},
		{"back", "{\"t_s\": 5}\n{\"t_s\": 5}", "line 2: t_s must be greater than on the line before: 5 after 5"},
		{"rps", `{"t_s": 0, "rps": -1}`, "line 1: rps must be between 0 and 100000, got -1"},
		{"service time", `{"t_s": 0, "service_time_s": 0}`, "line 1: service_time_s must be between 0.01 and 86400, got 0"},
		{"capacity", `{"t_s": 0, "capacity": 0.5}`, "line 1: capacity must be between 1 and 1e+06, got 0.5"},
		{"end", `{"t_s": 1e9}`, "line 1: t_s must be between 0 and 604800, got 1e+09"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := simulate.ReadTrace(strings.NewReader(tt.in)); err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestNewWadi_BadSchedule(t *testing.T) {
	if _, err := simulate.NewWadi(wadi.Scaling{Schedules: []wadi.Schedule{{Name: "x", Cron: "never"}}}, 0, 0); err == nil {
		t.Error("a bad schedule is taken")
	}
}

// BenchmarkRun_Hour: an hour of load within milliseconds.
func BenchmarkRun_Hour(b *testing.B) {
	tr, err := simulate.ReadTrace(strings.NewReader("{\"t_s\": 0, \"rps\": 1, \"ramp\": true}\n{\"t_s\": 3600, \"rps\": 500}"))
	if err != nil {
		b.Fatal(err)
	}
	tr = tr.Fill(wadi.Queue{Depth: 1000, Timeout: wadi.Duration(time.Minute)})
	for b.Loop() {
		w, err := simulate.NewWadi(scaling(), 10, 100)
		if err != nil {
			b.Fatal(err)
		}
		simulate.Run(tr, w, time.Minute, func(simulate.Row) {})
	}
}
