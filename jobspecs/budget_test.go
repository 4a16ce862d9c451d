package jobspecs_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/jobspecs"
)

// A few bytes that require gigabytes, or hours, are refused before they take them, with
// one error at their place.
func TestParse_Bombs(t *testing.T) {
	var doubling strings.Builder
	doubling.WriteString("a0 = \"0123456789abcdef\"\n")
	for i := range 60 {
		fmt.Fprintf(&doubling, "a%d = \"${local.a%d}${local.a%d}\"\n", i+1, i, i)
	}
	text := func(n int) string { return `"` + strings.Repeat("x", n) + `"` }
	hundred := "[" + strings.Repeat("1,", 100) + "]"
	for name, locals := range map[string]string{
		"doubling texts":       doubling.String() + "x = local.a60",
		"doubling lists":       strings.NewReplacer(`"${`, "concat(", `}${`, ",", `}"`, ")", `"0123456789abcdef"`, "[1]").Replace(doubling.String()) + "x = length(local.a60)",
		"doubling objects":     strings.NewReplacer(`"${`, "{ a = ", `}${`, ", b = ", `}"`, " }").Replace(doubling.String()) + "x = local.a60",
		"one text many times":  "a = " + text(100_000) + "\nx = \"" + strings.Repeat("${local.a}", 10_000) + "\"",
		"loops in loops":       "l = range(1000)\nx = length([for a in local.l : [for b in local.l : [for c in local.l : [for d in local.l : 1]]]])",
		"loops in a text":      "l = range(1000)\nx = \"%{for a in local.l}%{for b in local.l}%{for c in local.l}xxxxxxxxxxxxxxxx%{endfor}%{endfor}%{endfor}\"",
		"a long number":        "x = \"${1e300000000}\"",
		"a longer number":      "x = \"${1e300000000 * 1e300000000}\"",
		"a number from a text": "x = \"${\"1e300000000\" + 1}\"",
		"a decoded number":     "x = jsondecode(\"1e300000000\")",
		"a small number":       "x = \"${1e-300000000}\"",
		"format":               "x = format(\"%999999999d\", 1)",
		"format's precision":   "x = format(\"%.999999999f\", 1)",
		"formatlist":           "x = length(formatlist(" + text(100_000) + ", range(1000)))",
		"indent":               "x = indent(999999999, \"a\\nb\")",
		"join":                 "x = join(" + text(100_000) + ", range(1000))",
		"replace":              "x = replace(" + text(100_000) + ", \"x\", " + text(100_000) + ")",
		"replace nothing":      "x = replace(" + text(100_000) + ", \"\", " + text(1000) + ")",
		"regex_replace":        "x = regex_replace(" + text(100_000) + ", \"x\", " + text(1000) + ")",
		"setproduct":           "x = length(setproduct(" + strings.TrimSuffix(strings.Repeat("range(1000),", 10), ",") + "))",
		"many to compare":      "l = [for a in range(100) : range(100)]\nx = length(distinct(flatten(local.l)))",
		"JSON":                 "x = length(jsondecode(" + text(100_000) + "))",
		"YAML aliases":         "x = yamldecode(\"a: &a [1]\\nb: &b [*a, *a]\\nc: [*b, *b]\").c",
		"deep values":          "x = yamlencode(jsondecode(\"" + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + "\"))",
		"deep YAML":            "x = length(yamldecode(\"" + strings.Repeat("- ", 10_000) + "a\"))",
		"deep YAML in flow":    "x = length(yamldecode(\"" + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + "\"))",
		"tried":                doubling.String() + "x = try(local.a60, \"else\")",
		"splat":                "l = [for a in range(1000) : { b = range(1000) }]\nx = length(local.l[*].b)",
		"condition":            doubling.String() + "x = false ? local.a60 : \"a\"",
		"large constants":      "l = " + hundred + "\nx = length([for a in local.l : [for b in local.l : [for c in local.l : [for d in local.l : local.l]]]])",
	} {
		src := "locals {\n" + locals + "\n}\nservice \"a\" {\n  instance {}\n  meta = { value = local.x }\n}\n"
		t.Run(name, func(t *testing.T) { wantBounded(t, src, nil) })
	}
	bomb := "[for a in " + hundred + " : [for b in " + hundred + " : [for c in " + hundred + " : [for d in " + hundred + " : 1]]]]"
	t.Run("a default", func(t *testing.T) {
		wantBounded(t, "variable \"v\" {\n  default = "+bomb+"\n}\nservice \"a\" {\n  instance {}\n}\n", nil)
	})
	t.Run("a given value", func(t *testing.T) {
		wantBounded(t, "variable \"v\" {\n  type = any\n}\nservice \"a\" {\n  instance {}\n}\n", map[string]string{"v": bomb})
	})
	t.Run("many variables", func(t *testing.T) {
		var many strings.Builder
		for i := range 5_000 {
			fmt.Fprintf(&many, "variable \"v%d\" {\n  default = 1\n}\n", i)
		}
		wantBounded(t, many.String()+"service \"a\" {\n  instance {}\n}\n", nil)
	})
	t.Run("many locals", func(t *testing.T) {
		var many strings.Builder
		for i := range 5_000 {
			fmt.Fprintf(&many, "v%d = local.v%d\n", i, i+1)
		}
		wantBounded(t, "locals {\n"+many.String()+"}\nservice \"a\" {\n  instance {}\n  priority = local.v0\n}\n", nil)
	})
	t.Run("a name in an instance", func(t *testing.T) {
		src := "service \"a\" {\n  instance {\n    service {\n      name = " + bomb + "\n    }\n  }\n}\n"
		if made := allocated(func() { jobspecs.Parse(jobspecs.File{Name: "a.hcl", Source: []byte(src)}, jobspecs.Options{}) }); made > maxMade {
			t.Errorf("%d MiB were made", made>>20)
		}
	})
}

// A large submission is far from the bounds: as many services as allowed, each with all
// the metadata that is allowed.
func TestParse_LargeIsGood(t *testing.T) {
	var src strings.Builder
	src.WriteString("locals {\n  long = \"" + strings.Repeat("x", 900) + "\"\n}\n")
	for i := range jobspecs.MaxServices {
		fmt.Fprintf(&src, "service \"s%d\" {\n  instance {}\n  meta = { for i in range(64) : \"key${i}\" => local.long }\n}\n", i)
	}
	drafts, problems := jobspecs.Parse(jobspecs.File{Name: "a.hcl", Source: []byte(src.String())}, jobspecs.Options{})
	if len(problems) > 0 || len(drafts) != jobspecs.MaxServices || len(drafts[15].Service.Meta) != 64 {
		t.Errorf("got %d services, problems %v", len(drafts), problems)
	}
}

// maxMade bounds the memory of a parse: many times the bound of its values, and a small
// part of what the bombs require.
const maxMade = 512 << 20

func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Nomad's parser gets the locals that only the instance needs, too: it has no bounds.
func TestParse_BombsForNomad(t *testing.T) {
	src := "locals {\n  a = range(1000)\n  b = nosuch(1)\n%s}\nservice \"a\" {\n  instance {}\n}\n"
	for _, tt := range []struct {
		more string
		want bool
	}{{"", false}, {"  c = [for a in local.a : [for b in local.a : [for c in local.a : 1]]]\n", true}} {
		drafts, problems := jobspecs.Parse(jobspecs.File{Name: "a.hcl", Source: fmt.Appendf(nil, src, tt.more)}, jobspecs.Options{})
		if len(drafts) != 1 || drafts[0].OverBudget() != tt.want || len(problems) > 1 || jobspecs.HasErrors(problems) != tt.want {
			t.Errorf("too much: want %t, got problems %v", tt.want, problems)
		}
	}
}

func wantBounded(t *testing.T, src string, variables map[string]string) {
	t.Helper()
	var problems []wadi.Problem
	made := allocated(func() {
		_, problems = jobspecs.Parse(jobspecs.File{Name: "a.hcl", Source: []byte(src)}, jobspecs.Options{Variables: variables})
	})
	if made > maxMade {
		t.Errorf("%d MiB were made", made>>20)
	}
	t.Logf("%d MiB: %v", made>>20, problems)
	if len(problems) == 0 || len(problems) > 2 || problems[0].Line == 0 {
		t.Errorf("got %d problems, want one with a place", len(problems))
	}
}

// The same bounds hold for other files.
func TestConstants(t *testing.T) {
	hundred := "[" + strings.Repeat("1,", 100) + "]"
	for name, src := range map[string]string{
		"loops":   "a = [for a in " + hundred + " : [for b in " + hundred + " : [for c in " + hundred + " : [for d in " + hundred + " : 1]]]]\n",
		"nesting": "a = " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "\n",
	} {
		var c jobspecs.Constants
		body, diags := c.Body(jobspecs.File{Name: "a.hcl", Source: []byte(src)})
		if !diags.HasErrors() {
			attrs, _ := body.JustAttributes()
			for range 2 { // Each function reports it.
				_, diags = c.Value(attrs["a"].Expr)
				if len(diags) != 1 {
					t.Errorf("%s: got %v, want one error", name, diags)
				}
			}
		}
		if !diags.HasErrors() {
			t.Errorf("%s: no error", name)
		}
	}
}
