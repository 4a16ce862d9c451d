package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
)

const planFile = `service "hello" {
  mesh    = "off"
  network = "host"
  instance {
    task "web" {
      driver = "raw_exec"
      config {
        command = "/bin/a"
      }
    }
  }
}
`

func TestPlan_Text(t *testing.T) {
	b := newBench(t)
	path := written(t, "hello.hcl", planFile)
	b.wadi(t, "plan", path).want(t, 1, `+   Service: "hello" (new revision hello-00001)
+   Job: "hello-00001"
+/- Traffic (once hello-00001 is ready)
  +   hello-00001: 100 %
Scheduler dry-run of 1 instance:
- All instances would be placed.

Service Modify Index of hello: 0
To submit exactly this, run:

wadi apply -check-index 0 hello.hcl

With -check-index nothing is submitted if a service has another index by then: it was
changed meanwhile, and this plan may not hold.
`, "")
	b.wadi(t, "apply", "-detach", path)
	b.store.SetRoute(wadi.Route{Service: "hello", Targets: []wadi.RouteTarget{{Revision: "hello-00001", Weight: wadi.WeightAll}}})
	b.wadi(t, "plan", path).want(t, 0, "    Service: \"hello\" (unchanged, revision hello-00001)\n", "")

	next := written(t, "hello.hcl", strings.Replace(planFile, "/bin/a", "/bin/b", 1))
	b.wadi(t, "plan", next).want(t, 1, `+/- Service: "hello" (new revision hello-00002, for instance)
+/- Job: "hello-00002" (against that of hello-00001)
  +/- command: "command":"/bin/a" => "command":"/bin/b"
+/- Traffic (once hello-00002 is ready)
  -   hello-00001: 100 %
  +   hello-00002: 100 %
Scheduler dry-run of 1 instance:
- All instances would be placed.

Service Modify Index of hello: 1
To submit exactly this, run:

wadi apply -check-index 1 hello.hcl

With -check-index nothing is submitted if a service has another index by then: it was
changed meanwhile, and this plan may not hold.
`, "")
}

// The command that is printed submits what was planned, in a shell: with its variables, to its
// agent.
func TestPlan_PrintedCommand(t *testing.T) {
	b := newBench(t)
	path := written(t, "it's mine.hcl", "variable \"command\" {\n  type = string\n}\n"+strings.Replace(planFile, `"/bin/a"`, "var.command", 1))
	vars := written(t, "prod.hcl", `command = "/bin/a"`+"\n")
	o := b.wadi(t, "plan", "-var-file", vars, "-var", "command=/bin/b $HOME", path)
	want := "wadi apply -check-index 0 -var-file " + vars + ` -var 'command=/bin/b $HOME' '` + strings.ReplaceAll(path, "'", `'\''`) + "'\n"
	if o.code != 1 || !strings.Contains(o.stdout, want) {
		t.Errorf("want %s, got %+v", want, o)
	}
	o = b.wadiIn(t.Context(), planFile, []string{"WADI_ADDR=http://127.0.0.1:1"}, "plan", "-address", b.URL, "-")
	if want := "wadi apply -check-index 0 -address " + b.URL + " -\n"; o.code != 1 || !strings.Contains(o.stdout, want) {
		t.Errorf("of another agent: want %s, got %+v", want, o)
	}
	for word, want := range map[string]string{"a-b/c.hcl": "a-b/c.hcl", "x=1": "x=1", "": "''", "a;b": "'a;b'", "$(x)": "'$(x)'", "é": "'é'", "a\nb": "'a\nb'"} {
		if got := shellWord(word); got != want {
			t.Errorf("%q: got %s, want %s", word, got, want)
		}
	}
}

// Errors have exit code 255, so that scripts tell them from changes.
func TestPlan_ExitCodes(t *testing.T) {
	b := newBench(t)
	path := written(t, "hello.hcl", planFile)
	for _, args := range [][]string{
		{"plan"}, {"plan", "-nonsense", path}, {"plan", path, "-json"}, {"plan", "/nowhere.hcl"}, {"plan", "-check-index", "4", path},
		{"plan", "-check-index", "x=1", path}, {"plan", "-check-index", "=1", path}, {"plan", "-address", "http://127.0.0.1:1", path},
		{"plan", written(t, "bad.hcl", "service \"a\" {\n}\n")},
	} {
		if o := b.wadi(t, args...); o.code != 255 || o.stderr == "" || o.stdout != "" {
			t.Errorf("%v: %+v", args, o)
		}
	}
	o := b.wadi(t, "plan", "-json", path)
	var out api.Plan
	if err := json.Unmarshal([]byte(o.stdout), &out); o.code != 1 || err != nil || !out.Changed || out.Services[0].Job == nil {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestCheckIndex_OfSeveral(t *testing.T) {
	b := newBench(t)
	path := written(t, "two.hcl", planFile+strings.Replace(planFile, `"hello"`, `"other"`, 1))
	o := b.wadi(t, "plan", path)
	if o.code != 1 || !strings.Contains(o.stdout, "wadi apply -check-index hello=0 -check-index other=0 "+path) {
		t.Errorf("%+v", o)
	}
	if o := b.wadi(t, "apply", "-detach", "-check-index", "0", path); o.code != 2 || !strings.Contains(o.stderr, "use -check-index NAME=INDEX") {
		t.Errorf("one index of two services: %+v", o)
	}
	if o := b.wadi(t, "apply", "-detach", "-check-index", "hello=0", "-check-index", "other=0", path); o.code != 0 {
		t.Errorf("the right indexes: %+v", o)
	}
	if o := b.wadi(t, "apply", "-detach", "-check-index", "other=9", path); o.code != 1 || !strings.Contains(o.stderr, "check_index is 9") {
		t.Errorf("a wrong index: %+v", o)
	}
}

// A value from a job can't steer the terminal, and a part that is added or deleted is
// shown whole with -verbose only.
func TestPlan_Printer(t *testing.T) {
	tree := wadi.Change{Kind: wadi.ChangeEdited, Name: "evil\x1b[2J", Changes: []wadi.Change{
		{Kind: wadi.ChangeEdited, Name: "a", Old: "x\r\n\x1b[31my", New: "z"},
		{Kind: wadi.ChangeEdited, Name: "emptied", Old: "x"},
		{Kind: wadi.ChangeAdded, Name: "new", Changes: []wadi.Change{{Kind: wadi.ChangeAdded, Name: "inside", New: "1"}}},
		{Kind: wadi.ChangeDeleted, Name: "old", Old: "2", Note: "gone"},
	}}
	for _, tt := range []struct {
		verbose bool
		want    string
	}{
		{false, "+/- evil[2J\n  +/- a: x [31my => z\n  +/- emptied: x => -\n  +   new\n  -   old: 2 (gone)\n"},
		{true, "+/- evil[2J\n  +/- a: x [31my => z\n  +/- emptied: x => -\n  +   new\n    +   inside: 1\n  -   old: 2 (gone)\n"},
	} {
		var out strings.Builder
		p := planPrinter{call: &call{stdio: stdio{stdout: &out}}, verbose: tt.verbose}
		p.change(0, tree)
		if out.String() != tt.want {
			t.Errorf("verbose %t:\ngot  %q\nwant %q", tt.verbose, out.String(), tt.want)
		}
	}
}

// shopDay is the load of a day in November 2026: for eight hours customers come for four
// minutes of each quarter.
func shopDay() wadi.LoadHistory {
	begin := int64(1795948200) / 60
	var busy []wadi.LoadMinute
	for m := range int64(wadi.MaxLoadMinutes) {
		if m >= 11*60 && m < 19*60 && m%15 < 4 {
			busy = append(busy, wadi.LoadMinute{Minute: begin + m, Concurrency: 1.5, Peak: 9, Requests: 300, PeakRate: 40})
		}
	}
	return wadi.LoadHistory{}.With(begin, begin+400, nil).With(begin+410, begin+wadi.MaxLoadMinutes, busy)
}

// The load of the last day meets the stored settings and the submitted ones.
func TestPlan_Forecast(t *testing.T) {
	b := newBench(t)
	path := written(t, "hello.hcl", planFile)
	if o := b.wadi(t, "plan", "-forecast", path); o.code != 1 || !strings.Contains(o.stderr, "hello: no forecast, as it is new") {
		t.Errorf("a new service: %+v", o)
	}
	b.wadi(t, "apply", "-detach", path)
	warm := written(t, "hello.hcl", strings.Replace(planFile, "instance {", "scale {\n    min = 1\n  }\n  instance {", 1))
	if o := b.wadi(t, "plan", "-forecast", warm); o.code != 1 || !strings.Contains(o.stderr, "hello: no forecast, as no load is kept yet") {
		t.Errorf("without load: %+v", o)
	}
	b.store.SetLoadHistory("hello", shopDay())
	o := b.wadi(t, "plan", "-forecast", "-start-up", "3s", warm)
	_, table, _ := strings.Cut(o.stdout, "\nForecast")
	if table = "Forecast" + table; o.code != 1 || strings.Contains(o.stderr, "Warning") || !strings.Contains(table, "Longest wait           3s                0s\n") {
		t.Errorf("got %d %s\n%s", o.code, o.stderr, o.stdout)
	}
	page, err := os.ReadFile("../../docs/autoscaling.md")
	if err != nil || !strings.Contains(string(page), table) {
		t.Errorf("docs/autoscaling.md does not show (%v):\n%s", err, table)
	}
	o = b.wadi(t, "plan", "-forecast", "-json", warm)
	var out struct {
		api.Plan
		Forecasts []forecast `json:"forecasts"`
	}
	if err := json.Unmarshal([]byte(o.stdout), &out); err != nil || len(out.Forecasts) != 1 || out.Forecasts[0].Before.Late == 0 || out.Forecasts[0].Unknown != 10 || !out.Changed {
		t.Errorf("%v: %+v", err, o)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if f, err := forecastOf(ctx, shopDay(), wadi.Service{}, wadi.Service{}, time.Second); !errors.Is(err, context.Canceled) || f.Before.Requests > 0 {
		t.Errorf("interrupted: %+v, %v", f, err)
	}
	for _, startUp := range []string{"0s", "-1s", "2h", "x"} {
		if o := b.wadi(t, "plan", "-forecast", "-start-up", startUp, warm); o.code != 255 {
			t.Errorf("-start-up %s: %+v", startUp, o)
		}
	}
}

// Colours and nothing else differ on a terminal.
func TestPlan_Colours(t *testing.T) {
	out := &screen{width: 80}
	p := planPrinter{call: &call{stdio: stdio{stdout: out, env: map[string]string{}}}}
	for _, kind := range []wadi.ChangeKind{wadi.ChangeAdded, wadi.ChangeDeleted, wadi.ChangeEdited, wadi.ChangeNone} {
		p.change(0, wadi.Change{Kind: kind, Name: "x", New: "1"})
	}
	want := green + "+" + reset + "   x: 1\n" + red + "-" + reset + "   x: 1\n" + yellow + "+/-" + reset + " x: - => 1\n    x: 1\n"
	if got := out.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	out.Reset()
	p.env["NO_COLOR"] = "1"
	p.change(0, wadi.Change{Kind: wadi.ChangeAdded, Name: "x"})
	if out.String() != "+   x\n" {
		t.Errorf("with NO_COLOR: %q", out.String())
	}
}
