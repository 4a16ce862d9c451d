package replay_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi/scheduler"
	"github.com/wadi-run/wadi/scheduler/replay"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func run(in string) (string, error) {
	var out bytes.Buffer
	err := replay.Run(strings.NewReader(in), &out)
	return out.String(), err
}

func results(t *testing.T, in string) []replay.Result {
	t.Helper()
	out, err := run(in)
	if err != nil {
		t.Fatal(err)
	}
	var all []replay.Result
	dec := json.NewDecoder(strings.NewReader(out))
	for dec.More() {
		var r replay.Result
		if err := dec.Decode(&r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

func TestRun_Golden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %d files", err, len(files))
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			in, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := run(string(in))
			if err != nil {
				t.Fatal(err)
			}
			golden := strings.TrimSuffix(file, ".jsonl") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A line's answer is Decide's, over random traces and settings.
func TestRun_IsDecide(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 50 {
		s := scheduler.Settings{
			Metric: "concurrency", TargetValue: 1 + float64(rng.IntN(100)), TotalValue: 100, BurstCapacity: float64(rng.IntN(300) - 1),
			MaxUpRate: 1 + float64(rng.IntN(10)), MaxDownRate: 1.5, PanicThreshold: 1 + rng.Float64()*3,
			StableWindow: time.Duration(6+rng.IntN(60)) * time.Second, PanicWindow: time.Duration(1+rng.IntN(6)) * time.Second,
			DownDelay: time.Duration(rng.IntN(10)) * time.Second, Activation: rng.IntN(4), Reachable: rng.IntN(4) > 0,
		}
		ready := rng.IntN(4)
		var in, want strings.Builder
		fmt.Fprintf(&in, `{"config": {"target_value": %v, "burst_capacity": %v, "max_up_rate": %v, "max_down_rate": 1.5, "panic_threshold": %v,
 "stable_window_s": %v, "panic_window_s": %v, "down_delay_s": %v, "activation": %d, "reachable": %t}, "ready_at_start": %d, "start_s": 7}`,
			s.TargetValue, s.BurstCapacity, s.MaxUpRate, s.PanicThreshold, s.StableWindow.Seconds(), s.PanicWindow.Seconds(),
			s.DownDelay.Seconds(), s.Activation, s.Reachable, ready)
		text := strings.ReplaceAll(in.String(), "\n", "") + "\n"
		st := scheduler.NewDecider(ready, time.Unix(7, 0))
		for i := range 100 {
			input := scheduler.Input{Stable: rng.ExpFloat64() * 200, Panic: rng.ExpFloat64() * 300, Ready: rng.IntN(12)}
			seconds := 8 + float64(i)*1.5
			text += fmt.Sprintf("{\"t_s\": %v, \"stable\": %v, \"panic\": %v, \"ready\": %d}\n", seconds, input.Stable, input.Panic, input.Ready)
			var out scheduler.Output
			out, st = scheduler.Decide(s, st, input, time.UnixMilli(int64(seconds*1000)))
			fmt.Fprintf(&want, "%d %v %t %t %s\n", out.Desired, out.ExcessBurst, out.Panicking, out.Valid, out.Reason)
		}
		var got strings.Builder
		for _, r := range results(t, text) {
			fmt.Fprintf(&got, "%d %v %t %t %s\n", r.Desired, r.ExcessBurst, r.Panicking, r.Valid, r.Reason)
		}
		if diff := cmp.Diff(want.String(), got.String()); diff != "" {
			t.Fatalf("(-decide +replay):\n%s", diff)
		}
	}
}

// An average of samples is their mean over the whole seconds before the evaluation.
func TestRun_Samples(t *testing.T) {
	for _, tt := range []struct {
		name, config, lines string
		want                []string // How the reasons begin.
	}{
		{"a second that is left out is zero", `{"config": {}}`, `{"t_s": 2, "samples": [{"second": 0, "concurrency": 140}], "ready": 1}`,
			[]string{"70 requests"}},
		{"the window ends before the evaluation", `{"config": {}}`, `{"t_s": 2, "samples": [{"second": 1, "concurrency": 20}, {"second": 2, "concurrency": 1000}], "ready": 1}
			{"t_s": 3, "samples": [], "ready": 50}`,
			[]string{"10 requests", "340 requests"}},
		{"seconds leave the window", `{"config": {"stable_window_s": 6}}`, `{"t_s": 6, "samples": [{"second": 0, "concurrency": 60}], "ready": 1}
			{"t_s": 7, "samples": [], "ready": 1}`, []string{"10 requests", "0 requests"}},
		{"a late one is taken in", `{"config": {"stable_window_s": 6}}`, `{"t_s": 6, "samples": [], "ready": 1}
			{"t_s": 7, "samples": [{"second": 3, "concurrency": 60}], "ready": 1}`, []string{"0 requests", "10 requests"}},
		{"the last word counts", `{"config": {"stable_window_s": 6}}`, `{"t_s": 6, "samples": [{"second": 3, "concurrency": 600}, {"second": 3, "concurrency": 60}], "ready": 1}
			{"t_s": 6, "samples": [{"second": 3, "concurrency": 30}], "ready": 1}`, []string{"10 requests", "5 requests"}},
		{"seconds before the start do not count", `{"config": {}, "start_s": 100}`, `{"t_s": 102, "samples": [{"second": 100, "concurrency": 20}], "ready": 1}`,
			[]string{"10 requests"}},
		{"unless they are told", `{"config": {}, "start_s": 100}`, `{"t_s": 102, "samples": [{"second": 92, "concurrency": 100}], "ready": 1}`,
			[]string{"10 requests"}},
		{"part of a second", `{"config": {"stable_window_s": 6}}`, `{"t_s": 6.9, "samples": [{"second": 5, "concurrency": 60}, {"second": 6, "concurrency": 60}], "ready": 1}`,
			[]string{"10 requests"}},
		{"seconds since 1970", `{"config": {"stable_window_s": 6}, "start_s": 1700000000}`, `{"t_s": 1700000006, "samples": [{"second": 1700000005, "concurrency": 60}], "ready": 1}`,
			[]string{"10 requests"}},
		{"before 1970", `{"config": {"stable_window_s": 6}, "start_s": -20}`, `{"t_s": -14, "samples": [{"second": -15, "concurrency": 60}], "ready": 1}`,
			[]string{"10 requests"}},
		{"a longer window has what was told before", `{"config": {"stable_window_s": 6}}`, `{"t_s": 20, "samples": [{"second": 0, "concurrency": 200}], "ready": 1}
			{"t_s": 20, "samples": [], "ready": 1, "config": {"stable_window_s": 60}}`, []string{"0 requests", "10 requests"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := results(t, tt.config+"\n"+tt.lines+"\n")
			if len(got) != len(tt.want) {
				t.Fatalf("%d results: %+v", len(got), got)
			}
			for i, want := range tt.want {
				reason := got[i].Reason
				if _, after, ok := strings.Cut(reason, "ready: "); ok && got[i].Panicking {
					reason = after
				}
				if !strings.HasPrefix(reason, want) {
					t.Errorf("result %d: %q, want %q", i, reason, want)
				}
			}
		})
	}
}

func TestRun_BadInput(t *testing.T) {
	const head = `{"config": {}}` + "\n"
	for _, tt := range []struct{ name, in, want string }{
		{"nothing", "", `line 1: the setting is missing: the first line is, for instance, {"config": {"target_value": 70}}`},
		{"only blank lines", "\n\n", `line 3: the setting is missing: the first line is, for instance, {"config": {"target_value": 70}}`},
		{"no setting first", `{"t_s": 2}`, `line 1: the setting comes first: {"config": {…}, "ready_at_start": 1, "start_s": 0}`},
		{"setting of nothing", `{"config": null}`, `line 1: the setting comes first: {"config": {…}, "ready_at_start": 1, "start_s": 0}`},
		{"setting of another type", `{"config": 5}`, "line 1: config: an object is required, got 5"},
		{"not JSON", head + "\nhello\n", "line 3: not JSON: invalid character 'h' looking for beginning of value"},
		{"cut off", head + `{"t_s": 2` + "\n" + `{"t_s": 4}`, "line 2: the JSON ends before it is complete"},
		{"rubbish behind", head + `{"t_s": 2, "stable": 0, "panic": 0, "ready": 0} x`, "line 2: not JSON: invalid character 'x' looking for beginning of value"},
		{"an array", head + `[1]`, "line 2: an object is required, got [1]"},
		{"no time", head + `{"ready": 1}`, "line 2: t_s is missing: when it is evaluated, in seconds"},
		{"time of another type", head + `{"t_s": "2"}`, "line 2: t_s can't be a string"},
		{"time beyond all", head + `{"t_s": 1e300}`, "line 2: t_s must be between -1e+12 and 1e+12, got 1e+300"},
		{"no such number", head + `{"t_s": 1e400}`, "line 2: t_s can't be a number 1e400"},
		{"time goes back", head + `{"t_s": 4}` + "\n" + `{"t_s": 2}`, "line 3: t_s goes back: 2 after 4"},
		{"half an instance", head + `{"t_s": 2, "ready": 1.5}`, "line 2: ready must be a whole number between 0 and 1e+09, got 1.5"},
		{"fewer than none", head + `{"t_s": 2, "ready": -1}`, "line 2: ready must be a whole number between 0 and 1e+09, got -1"},
		{"less than nothing", head + `{"t_s": 2, "stable": -1}`, "line 2: stable must be 0 or more, got -1"},
		{"half a second", head + `{"t_s": 2, "samples": [{"second": 0.5}]}`, "line 2: samples: second must be whole, got 0.5"},
		{"no second", head + `{"t_s": 2, "samples": [{"concurrency": 1}]}`, "line 2: samples: second is missing"},
		{"less than nothing in a second", head + `{"t_s": 2, "samples": [{"second": 1, "concurrency": -1}]}`, "line 2: samples: concurrency must be 0 or more, got -1"},
		{"ready at start", `{"config": {}, "ready_at_start": 0.5}`, "line 1: ready_at_start must be a whole number between 0 and 1e+09, got 0.5"},
		{"target", `{"config": {"target_value": 0}}`, "line 1: config: target_value must be greater than 0, got 0"},
		{"up rate", `{"config": {"max_up_rate": 0.5}}`, "line 1: config: max_up_rate must be at least 1, got 0.5"},
		{"down rate", `{"config": {"max_down_rate": 0}}`, "line 1: config: max_down_rate must be at least 1, got 0"},
		{"threshold", `{"config": {"panic_threshold": -1}}`, "line 1: config: panic_threshold must be greater than 0, got -1"},
		{"window", `{"config": {"stable_window_s": 3601}}`, "line 1: config: stable_window_s must be between 1 and 3600, got 3601"},
		{"panic window", `{"config": {"panic_window_s": 0}}`, "line 1: config: panic_window_s must be between 1 and 3600, got 0"},
		{"delay", `{"config": {"down_delay_s": -1}}`, "line 1: config: down_delay_s must be between 0 and 1e+09, got -1"},
		{"activation", `{"config": {"activation": 1.5}}`, "line 1: config: activation must be a whole number between 0 and 1e+09, got 1.5"},
		{"reachable", `{"config": {"reachable": "yes"}}`, "line 1: config: reachable can't be a string"},
		{"a change", head + `{"t_s": 2, "config": {"max_up_rate": 0}}`, "line 2: config: max_up_rate must be at least 1, got 0"},
		{"too long", head + strings.Repeat(" ", 17<<20), "line 2: longer than 16777216 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := run(tt.in); err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// Every line is answered before the next one is read.
func TestRun_Streams(t *testing.T) {
	in, feed := io.Pipe()
	answers, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- errors.Join(replay.Run(in, out), out.Close()) }()
	dec := json.NewDecoder(answers)
	for _, line := range []string{`{"config": {}}`, `{"t_s": 2, "stable": 71, "panic": 0, "ready": 1}`, `{"t_s": 4, "metric_error": true, "ready": 1}`} {
		if _, err := io.WriteString(feed, line+"\n"); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(line, "config") {
			continue
		}
		var r replay.Result
		if err := dec.Decode(&r); err != nil {
			t.Fatal(err)
		}
		if r.Desired != 2 {
			t.Errorf("%s: %+v", line, r)
		}
	}
	if err := errors.Join(feed.Close(), <-done); err != nil {
		t.Fatal(err)
	}
}

func FuzzRun(f *testing.F) {
	f.Add(`{"config": {}}` + "\n" + `{"t_s": 2, "samples": [{"second": 0, "concurrency": 140}], "ready": 1}`)
	f.Fuzz(func(t *testing.T, in string) {
		out, err := run(in)
		if err != nil && !strings.HasPrefix(err.Error(), "line ") {
			t.Errorf("no line: %v", err)
		}
		dec := json.NewDecoder(strings.NewReader(out))
		for dec.More() {
			var r replay.Result
			if err := dec.Decode(&r); err != nil {
				t.Fatal(err)
			}
		}
	})
}
