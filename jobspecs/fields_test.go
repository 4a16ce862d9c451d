package jobspecs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/jobspecs"
)

// values are tried for every setting: each type, its bounds and beyond, and none.
var values = []string{
	`0`, `1`, `-1`, `0.5`, `33.333`, `70000`, `1e30`, `true`, `null`,
	`""`, `"text"`, `"7"`, `"\u0007"`, `"` + strings.Repeat("x", 2000) + `"`,
	`"0s"`, `"10s"`, `"-1s"`, `"90m"`, `"100000h"`,
	`[]`, `[5]`, `[""]`, `["text"]`, `["/a", "/a"]`, `["a.example.com", null]`,
	`{}`, `{ a = "b" }`, `{ a = [] }`, `{ "" = "b" }`, `nothing`, `var.nothing`, `local.nothing`,
}

// needed are what a block needs beside the setting that is tried.
var needed = map[string][]string{
	"upstream":       {`local_port = 9000`},
	"traffic":        {`revision = "latest"`},
	"intentions":     {`allow = []`},
	"rollout":        {`duration = "10m"`},
	"sticky":         {`cookie = "shop"`},
	"mirror":         {`tag = "canary"`, `percent = 5`},
	"scale.schedule": {`cron = "@daily"`, `duration = "1h"`, `min = 1`},
	"route":          {"match {\npath_prefix = \"/v2\"\n}"},
}

// instead is what a block needs where the setting that is tried has no value, or does not
// do: one of several settings. The first that is not tried itself.
var instead = map[string][]string{
	"route":              {`tag = "canary"`, `service = "other"`},
	"route.match":        {`path_prefix = "/v2"`, `path = "/v2"`},
	"route.match.header": {`exact = "a"`, `prefix = "a"`},
	"route.match.query":  {`exact = "a"`, `present = true`},
	"route.redirect":     {`host = "shop.example.com"`, `path = "/new"`},
}

// fieldSpec is a service with one setting, and the setting's line.
func fieldSpec(path string, labelled map[string]bool, lines ...string) (src string, line int) {
	names := strings.Split(path, ".")
	blocks, name := names[:len(names)-1], names[len(names)-1]
	var head, foot string
	for i := range blocks {
		label := ""
		if labelled[strings.Join(blocks[:i+1], ".")] {
			label = ` "concurrency"`
		}
		head += blocks[i] + label + " {\n"
		foot += "}\n"
		path := strings.Join(blocks[:i+1], ".")
		inside := names[i+1]
		for _, other := range needed[path] {
			if !strings.HasPrefix(other, inside+" ") {
				head += other + "\n"
			}
		}
		none := inside == name && slices.Contains(lines, name+" = null")
		if none || slices.Contains([]string{"route.match", "route.prefix_rewrite", "route.redirect.scheme", "route.redirect.code"}, path+"."+inside) {
			for _, other := range instead[path] {
				if !strings.HasPrefix(other, inside+" ") {
					head += other + "\n"
					break
				}
			}
		}
	}
	src = "service \"shop\" {\ninstance {\n}\n" + head
	return src + strings.Join(lines, "\n") + "\n" + foot + "}\n", 1 + strings.Count(src, "\n")
}

// TestFields_Settings tries every value for every setting that the reader knows. A setting
// without a golden file fails, so that no text goes unread.
func TestFields_Settings(t *testing.T) {
	labelled := map[string]bool{}
	goldens := map[string]bool{}
	for _, s := range jobspecs.Settings() {
		labelled[s.Path] = s.Label
		goldens[s.Path+".golden"] = true
	}
	for _, s := range jobspecs.Settings() {
		if s.Block {
			continue
		}
		t.Run(s.Path, func(t *testing.T) {
			var outcomes []string
			by := map[string][]string{} // Values by outcome.
			name := s.Path[strings.LastIndexByte(s.Path, '.')+1:]
			add := func(value, src string, line int) {
				o := outcome(t, src, s.Path, line)
				if len(by[o]) == 0 {
					outcomes = append(outcomes, o)
				}
				by[o] = append(by[o], value)
			}
			for _, v := range values {
				src, line := fieldSpec(s.Path, labelled, name+" = "+v)
				add(fmt.Sprintf("%.30s", v), src, line)
			}
			src, line := fieldSpec(s.Path, labelled, name+" = null", name+" = null")
			add("set twice", src, line+1)
			var out strings.Builder
			for _, o := range outcomes {
				fmt.Fprintf(&out, "%s    %s\n", o, strings.Join(by[o], "   "))
			}
			golden(t, "testdata/fields/"+s.Path+".golden", []byte(out.String()))
		})
	}
	for _, file := range files(t, "testdata/fields/*.golden") {
		if !goldens[filepath.Base(file)] {
			t.Errorf("%s is of no setting or block", file)
			if *update {
				_ = os.Remove(file)
			}
		}
	}
}

// TestFields_Blocks has the mistakes that can be made with every block.
func TestFields_Blocks(t *testing.T) {
	labelled := map[string]bool{}
	for _, s := range jobspecs.Settings() {
		labelled[s.Path] = s.Label
	}
	for _, s := range jobspecs.Settings() {
		if !s.Block {
			continue
		}
		t.Run(s.Path, func(t *testing.T) {
			var out strings.Builder
			name := s.Path[strings.LastIndexByte(s.Path, '.')+1:]
			label := ""
			if s.Label {
				label = ` "concurrency"`
			}
			for _, tt := range []struct {
				what  string
				lines []string
			}{
				{"empty", []string{name + label + " {}"}},
				{"unknown setting", []string{name + label + " {", "colour = 1", "}"}},
				{"unknown block", []string{name + label + " {", "colour {", "}", "}"}},
				{"one label more", []string{name + label + ` "more" {`, "}"}},
				{"one label less", []string{name + " {", "}"}},
				{"a label that is none", []string{name + ` "" {`, "}"}},
				{"twice", []string{name + label + " {", "}", name + label + " {", "}"}},
				{"a setting of that name", []string{name + " = {}"}},
			} {
				src, _ := fieldSpec(s.Path, labelled, tt.lines...)
				fmt.Fprintf(&out, "%s\n%s", tt.what, outcome(t, src, "", 0))
			}
			golden(t, "testdata/fields/"+s.Path+".golden", []byte(out.String()))
		})
	}
}

// outcome is what the parser says. Each problem has a file and a line, and if there is any,
// one is of the setting at path, on its line.
func outcome(t *testing.T, src, path string, line int) string {
	t.Helper()
	_, problems := jobspecs.Parse(jobspecs.File{Name: "shop.hcl", Source: []byte(src)}, jobspecs.Options{})
	if len(problems) == 0 {
		return "  accepted\n"
	}
	var out strings.Builder
	for _, p := range problems {
		if p.File != "shop.hcl" || p.Line == 0 {
			t.Errorf("a problem without a place: %s", p)
		}
		out.WriteString("  " + strings.ReplaceAll(p.String(), strings.Repeat("x", 1990), "…") + "\n")
	}
	if path != "" && !slices.ContainsFunc(problems, func(p wadi.Problem) bool {
		onLine := p.Line == line || strings.HasPrefix(p.Message, "required: ") // Of a block, as null is no setting.
		return onLine && unlabelled(p.Path) == path
	}) {
		t.Errorf("no problem is of %s in line %d:\n%s", path, line, out.String())
	}
	return out.String()
}

// unlabelled is a problem's path without labels and numbers.
func unlabelled(path string) string {
	return strings.ReplaceAll(strings.ReplaceAll(path, ".concurrency.", "."), "[0]", "")
}
