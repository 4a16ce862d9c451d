package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Whatever docs/autoscaling.md shows of a terminal is what the commands print. With
// -update it is made so.
func TestDocs_Autoscaling(t *testing.T) {
	t.Chdir("../..")
	const file = "docs/autoscaling.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	console, ran := false, 0
	for line := range strings.Lines(string(text)) {
		switch {
		case line == "```console\n":
			console = true
		case strings.HasPrefix(line, "```"):
			console = false
		case console && strings.HasPrefix(line, "$ "):
			out.WriteString(line)
			out.WriteString(shown(t, strings.Fields(line)[1:]))
			ran++
			continue
		case console:
			continue // What was printed when it was written.
		}
		out.WriteString(line)
	}
	if ran < 5 {
		t.Fatalf("%d commands were found", ran)
	}
	if *update {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(text), out.String()); diff != "" && !*update {
		t.Errorf("%s (-written +printed):\n%s", file, diff)
	}
}

// shown is what a command of the document prints.
func shown(t *testing.T, args []string) string {
	t.Helper()
	stdin := ""
	if n := len(args); n > 2 && args[n-2] == "<" {
		in, err := os.ReadFile(args[n-1])
		if err != nil {
			t.Fatal(err)
		}
		stdin, args = string(in), args[:n-2]
	}
	if args[0] == "cat" {
		text, err := os.ReadFile(args[1])
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), args[1:], strings.NewReader(stdin), &stdout, &stderr, nil); code != 0 {
		t.Fatalf("%v: exit %d: %s", args, code, stderr.String())
	}
	return stdout.String()
}

// The document says which loads are won: fewer requests refused or late, and fewer
// instance-seconds.
func TestDocs_AutoscalingIsWon(t *testing.T) {
	t.Chdir("../..")
	for load, wins := range map[string]bool{"ramp": true, "step": true, "sawtooth": true, "silence": true, "quiet": false} {
		var w whatIf
		w.traces, w.configs, w.against, w.every = list{"docs/loads/" + load + ".jsonl"}, list{"docs/loads/wadi.hcl"}, list{naRule}, 1e9
		got := w.totalsOf(t)
		if len(got) != 2 {
			t.Fatalf("%d results", len(got))
		}
		ours, theirs := got[0].Totals, got[1].Totals
		won := ours.Refused+ours.Late < theirs.Refused+theirs.Late
		if won != wins || ours.InstanceSeconds >= theirs.InstanceSeconds {
			t.Errorf("%s: ours %+v, theirs %+v", load, ours, theirs)
		}
	}
}

func (w *whatIf) totalsOf(t *testing.T) []totals {
	t.Helper()
	c := &call{world: world{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}}}
	settings, err := w.settings(c)
	if err != nil {
		t.Fatal(err)
	}
	all, err := w.all(c, settings)
	if err != nil {
		t.Fatal(err)
	}
	return all
}
