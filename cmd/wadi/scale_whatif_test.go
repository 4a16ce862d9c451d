package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// load is a trace of a minute.
const load = `{"t_s": 0, "rps": 40, "service_time_s": 0.5, "start_up_s": 2}
{"t_s": 60}
`

func written(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestScaleWhatIf_JSON(t *testing.T) {
	b := newBench(t)
	two := written(t, "two.hcl", "service \"a\" {\n  instance {\n  }\n  scale {\n    max = 2\n  }\n}\nservice \"b\" {\n  instance {\n  }\n  concurrency {\n    limit = 5\n  }\n}\n")
	o := b.wadiIn(t.Context(), load, nil, "scale", "replay", "-what-if", "-", "-config", two, "-service", "b", "-against", "nomad-autoscaler", "-json", "-every", "30s")
	if o.code != 0 || o.stderr != "" {
		t.Fatalf("%+v", o)
	}
	type line struct {
		Setting string  `json:"setting"`
		Seconds float64 `json:"t_s"`
		Ready   int     `json:"ready"`
		Totals  *struct {
			Requests int `json:"requests"`
		} `json:"totals"`
	}
	var got []line
	dec := json.NewDecoder(strings.NewReader(o.stdout))
	for dec.More() {
		var l line
		if err := dec.Decode(&l); err != nil {
			t.Fatal(err)
		}
		got = append(got, l)
	}
	if len(got) != 8 || got[4].Seconds != 60 || got[4].Setting != "two" || got[4].Ready < 6 || got[5].Setting != "nomad-autoscaler" {
		t.Errorf("got %+v", got)
	}
	for _, l := range got[6:] {
		if l.Totals == nil || l.Totals.Requests != 2400 {
			t.Errorf("totals of %s: %+v", l.Setting, l.Totals)
		}
	}
}

// Bare settings are read like an agent's defaults; several are shown side by side.
func TestScaleWhatIf_Table(t *testing.T) {
	b := newBench(t)
	one := written(t, "one.hcl", "scale {\n  max = 1\n}\n")
	four := written(t, "four.hcl", "scale {\n  min = 4\n}\nconcurrency {\n  limit = 10\n}\n")
	o := b.wadiIn(t.Context(), load, nil, "scale", "replay", "-what-if", "-", "-config", one, "-config", four, "-every", "60s")
	for _, want := range []string{"one ", "four ", "1:00", "█", "Instance-seconds"} {
		if o.code != 0 || !strings.Contains(o.stdout, want) {
			t.Errorf("%q is missing: %+v", want, o)
		}
	}
}

// A simulated load has no processor and memory usage: metrics of those are left out with a warning.
func TestScaleWhatIf_LeavesOut(t *testing.T) {
	b := newBench(t)
	cpu := written(t, "cpu.hcl", "scale {\n  metric \"cpu\" {\n  }\n}\n")
	o := b.wadiIn(t.Context(), load, nil, "scale", "replay", "-what-if", "-", "-config", cpu, "-every", "60s")
	if want := "Warning: cpu: metric \"cpu\" is left out: a simulated load does not have it.\n"; o.code != 0 || o.stderr != want {
		t.Errorf("got %+v, want %q", o, want)
	}
}

func TestScaleWhatIf_Errors(t *testing.T) {
	b := newBench(t)
	bad := written(t, "bad.hcl", "scale {\n  window = \"1s\"\n}\n")
	none := written(t, "none.hcl", "service \"a\" {\n}\n")
	two := written(t, "two.hcl", "service \"a\" {\n  instance {\n  }\n}\nservice \"b\" {\n  instance {\n  }\n}\n")
	trace := written(t, "load.jsonl", "{\"t_s\": 0}\n{\"t_s\": 0}\n")
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"a bad load", []string{"-what-if", trace}, 1, "load.jsonl: line 2: t_s must be greater than on the line before: 0 after 0"},
		{"no such load", []string{"-what-if", "/nowhere"}, 1, "no such file"},
		{"a bad setting", []string{"-what-if", "-", "-config", bad}, 1, "bad.hcl:2,12: scale.window: must be between 6s and 1h, got 1s"},
		{"a bad service", []string{"-what-if", "-", "-config", none}, 1, "none.hcl:1,1: instance: an instance block is required"},
		{"which service", []string{"-what-if", "-", "-config", two}, 2, "two.hcl has the services a, b; name one with -service"},
		{"no such service", []string{"-what-if", "-", "-config", two, "-service", "c"}, 2, "has the services a, b"},
		{"no such rule", []string{"-what-if", "-", "-against", "magic"}, 2, "there is no rule \"magic\""},
		{"every", []string{"-what-if", "-", "-every", "500ms"}, 2, "-every must be whole seconds, at least one"},
		{"without a load", []string{"-config", two}, 2, "need -what-if"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := b.wadiIn(t.Context(), load, nil, append([]string{"scale", "replay"}, tt.args...)...)
			if o.code != tt.code || !strings.Contains(o.stderr, tt.want) {
				t.Errorf("got %+v, want %d and %q", o, tt.code, tt.want)
			}
		})
	}
}
