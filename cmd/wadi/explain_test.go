package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

// at is a moment of a fixed day.
func at(seconds int) time.Time {
	return time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC).Add(time.Duration(seconds) * time.Second)
}

// history is a raise by load, and the decisions after it.
func history() []wadi.Decision {
	base := wadi.Decision{
		Revision: "hello-00001", Metric: wadi.Concurrency, Target: 70, Coverage: 1, PanicCoverage: 1,
		Ceiling: wadi.Bound{Count: 10, By: "max"}, Valid: true, Times: 1, Ready: 1, Count: 1,
	}
	up, down := base, base
	up.Time, up.Stable, up.Panic, up.Wanted, up.Desired, up.Rule, up.Executed = at(0), 140, 150, 2, 2, "load", true
	up.Reason = "140 requests at once on average over 60s, 70 wanted per instance: 2 instances"
	down.Time, down.Count, down.Ready, down.Desired, down.Times, down.Rule = at(90), 1, 1, 1, 30, "idle"
	down.Reason = "no request for 48s, zero after 60s: keeps 1 instance"
	down.ZeroAt = at(102)
	return []wadi.Decision{up, down}
}

func TestExplain_Text(t *testing.T) {
	t.Setenv("TZ", "UTC")
	time.Local = time.UTC
	b := applied(t)
	b.decisions["hello-00001"] = history()
	client, err := api.New(api.Config{Address: b.URL})
	if err != nil {
		t.Fatal(err)
	}
	s, err := client.Service(t.Context(), "hello")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	showExplanation(&call{stdio: stdio{stdout: &out, stderr: &out}}, explain(s, history(), 10, at(90)))
	output{stdout: out.String()}.golden(t, "explain.txt")

	b.wadi(t, "explain", "-n", "0", "hello").wantCode(t, 2, "less than one")
	b.wadi(t, "explain", "nobody").wantCode(t, 1, "nobody")
	o := b.wadi(t, "explain", "-json", "-n", "1", "hello")
	if o.code != 0 || !strings.Contains(o.stdout, `"rule": "idle"`) || strings.Contains(o.stdout, `"rule": "load"`) {
		t.Errorf("got %+v, want the last decision alone", o)
	}
}

func (o output) wantCode(t *testing.T, code int, text string) {
	t.Helper()
	if o.code != code || !strings.Contains(o.stderr, text) {
		t.Errorf("got %+v, want code %d and %q", o, code, text)
	}
}

func TestExplain_Next(t *testing.T) {
	s := api.Service{Service: wadi.Service{Scale: wadi.Scaling{Activation: 2, Window: wadi.Duration(time.Minute)}}}
	serving := wadi.RevisionStatus{ID: "hello-00001", Phase: wadi.Ready, Percent: 100}
	for _, tt := range []struct {
		name string
		r    wadi.RevisionStatus
		d    *wadi.Decision
		want string
	}{
		{"at zero", serving, nil, "a request wakes it, with 2 instances"},
		{"just at zero", serving, &wadi.Decision{Count: 1, Executed: true}, "a request wakes it, with 2 instances"},
		{"at zero without traffic", wadi.RevisionStatus{Phase: wadi.Ready}, nil, "it has no traffic"},
		{"awaits its images", wadi.RevisionStatus{Phase: wadi.Pending, Prefetching: true, Prefetch: "1 of 2 nodes has the images"}, nil,
			"it starts when its images are on the nodes: 1 of 2 nodes has the images"},
		{"failed", wadi.RevisionStatus{Phase: wadi.Failed}, nil, "it did not become ready and gets no instances; apply its file again to try again, or submit another revision"},
		{"idle", serving, &wadi.Decision{Count: 1, Desired: 1, ZeroAt: at(11)}, "zero in 11s if no request comes"},
		{"starting", serving, &wadi.Decision{Count: 1, Desired: 1, StartUntil: at(90)},
			"it is starting: the idle time before zero begins when it is ready, and the start is aborted in 1m30s (timeout.progress)"},
		{"pulling", serving, &wadi.Decision{Count: 1, Desired: 1, Starting: 1, Pulling: 1, StartUntil: at(90)},
			"it pulls its image: the idle time before zero begins when it is ready, and the start is aborted in 1m30s (timeout.progress)"},
		{"paused", serving, &wadi.Decision{Count: 1, Executed: true, PausedUntil: at(20)}, "its image could not be had: it is asked for again in 20s at the soonest"},
		{"no longer paused", serving, &wadi.Decision{Count: 1, Executed: true, PausedUntil: at(-1)}, "a request wakes it, with 2 instances"},
		{"overridden", serving, &wadi.Decision{Count: 3, Desired: 3, OverrideUntil: at(90)}, "the override ends in 1m30s"},
		{"a schedule", serving, &wadi.Decision{Count: 3, Desired: 3, Floor: wadi.Bound{Count: 3, By: "schedule", Name: "office", Until: at(60)}},
			"the floor of 3 (schedule office) ends in 1m0s"},
		{"panic", serving, &wadi.Decision{Count: 3, Desired: 3, Panicking: true, PanicSince: at(-20)}, "fewer in 40s at the soonest, if the load stays below"},
		{"steady", serving, &wadi.Decision{Count: 3, Desired: 3, ZeroAt: at(60)}, "stays as it is until the load changes"},
		{"dry run", serving, &wadi.Decision{Count: 1, Desired: 3, WhyNot: "dry_run"}, "not executed: dry_run"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := nextChange(s, tt.r, tt.d, at(0)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestServiceScale(t *testing.T) {
	b := applied(t)
	for _, tt := range []struct {
		name string
		args []string
		code int
		text string
	}{
		{"overridden", []string{"-for", "10m", "hello", "5"}, 0, "hello: overridden to 5 until "},
		{"shown", nil, 0, "Instances   overridden to 5 until "},
		{"a revision", []string{"-for", "10m", "-revision", "hello-00001", "hello", "2"}, 0, "hello-00001: overridden to 2 until "},
		{"too many", []string{"-for", "10m", "hello", "21"}, 1, "between 0 and 20"},
		{"no time", []string{"hello"}, 2, "for how long"},
		{"no count", []string{"-for", "10m", "hello"}, 2, "the count is missing"},
		{"no number", []string{"-for", "10m", "hello", "five"}, 2, "not a whole number"},
		{"negative time", []string{"-for", "-1m", "hello", "5"}, 2, "negative"},
		{"both", []string{"-for", "1m", "-clear", "hello"}, 2, "together"},
		{"clear with a count", []string{"-clear", "hello", "5"}, 2, "takes no count"},
		{"nothing", nil, 0, "Instances"},
		{"ended", []string{"-clear", "hello"}, 0, "hello: the override has ended"},
		{"ended by 0", []string{"-for", "0s", "-revision", "hello-00001", "hello", "2"}, 0, "hello-00001: the override has ended"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"service", "scale"}, tt.args...)
			if tt.args == nil {
				args = []string{"service", "status", "hello"}
			}
			o := b.wadi(t, args...)
			if o.code != tt.code || !strings.Contains(o.stdout+o.stderr, tt.text) {
				t.Errorf("got %+v, want code %d and %q", o, tt.code, tt.text)
			}
		})
	}
	if o := b.wadi(t, "service", "status", "hello"); strings.Contains(o.stdout, "overridden") {
		t.Errorf("an override that was ended is shown:\n%s", o.stdout)
	}
}

func TestReadings_SaysThatSourcesWereSampled(t *testing.T) {
	d := history()[0]
	without := readings(d)
	d.Sampled = true
	got := readings(d)
	if len(got) != len(without)+1 || !strings.Contains(got[len(got)-1], "mean of those read") {
		t.Errorf("got %q, want one more line than %q", got, without)
	}
}

// Measured values are written with few digits, however much of them is known.
func TestExplain_Pulling(t *testing.T) {
	for n, want := range map[int]string{0: "", 1: " (1 pulls an image)", 2: " (2 pull an image)"} {
		if got := pullingText(wadi.Decision{Starting: 2, Pulling: n}); got != want {
			t.Errorf("of %d: got %q, want %q", n, got, want)
		}
	}
}

func TestExplain_Readings(t *testing.T) {
	for _, tt := range []struct {
		r    wadi.Reading
		want string
	}{
		{wadi.Reading{Metric: wadi.Concurrency, Stable: 0.5, Panic: 0.001, Coverage: 1, PanicCoverage: 1, Wanted: 1, Valid: true},
			"concurrency: 0.5 over the window (100 % known), 0.001 over the panic window (100 % known), one instance for any: 1"},
		{wadi.Reading{Metric: wadi.CPU, Stable: 123456.789, Panic: 250, Target: 80, Coverage: 0.998, PanicCoverage: 0.333, Wanted: 100, Valid: true},
			"cpu: 123456.79 over the window (99 % known), 250 over the panic window (33 % known), 80 wanted per instance: 100"},
		{wadi.Reading{Metric: wadi.Memory, Target: 80},
			"memory: 0 over the window (0 % known), 0 over the panic window (0 % known), 80 wanted per instance: not enough is known"},
	} {
		if got := readings(wadi.Decision{Readings: []wadi.Reading{tt.r}}); got[0] != tt.want {
			t.Errorf("got %q\nwant %q", got[0], tt.want)
		}
	}
}
