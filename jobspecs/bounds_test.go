package jobspecs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/wadi-run/wadi/jobspecs"
)

// many repeats a format with numbers from 1 to n.
func many(n int, format string) string {
	var out strings.Builder
	for i := range n {
		fmt.Fprintf(&out, format+"\n", i+1)
	}
	return out.String()
}

// nestedLocals are locals of which each is a list of the one before.
func nestedLocals(n int) string {
	out := "locals {\n l0 = []\n"
	for i := range n {
		out += fmt.Sprintf(" l%d = [local.l%d]\n", i+1, i)
	}
	return out + "}\n"
}

// defaults reads a defaults block of the agent.
func defaults(t *testing.T, src string) jobspecs.Defaults {
	t.Helper()
	f, diags := hclsyntax.ParseConfig([]byte(src), "wadi.hcl", hcl.Pos{Line: 1, Column: 1})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	d, problems := jobspecs.ParseDefaults(f.Body)
	if len(problems) > 0 {
		t.Fatal(texts(problems))
	}
	return d
}

// Each bound of a file is met by one file that is just too large, and the message is read
// in a golden file.
func TestBounds(t *testing.T) {
	const instance = " instance {\n }\n"
	service := func(inside string) string { return "service \"shop\" {\n" + instance + inside + "\n}\n" }
	entries := func(n int) string { return "meta = {\n" + many(n, "k%d = 1") + "}" }
	tight := jobspecs.Options{Limits: jobspecs.Limits{MaxInstances: 3, MaxRequestTimeout: time.Minute, MaxSpecBytes: 64 << 10}}
	var none jobspecs.Options
	var out strings.Builder
	for _, tt := range []struct {
		what     string
		just     string // Allowed; empty: there is no such file.
		tooLarge string
		o        jobspecs.Options
	}{
		{"services", many(16, "service \"s%d\" {\n"+instance+"}"), many(17, "service \"s%d\" {\n"+instance+"}"), none},
		{"bytes of a file", service("") + "#" + strings.Repeat("x", 1<<20-len(service(""))-1), service("") + "#" + strings.Repeat("x", 1<<20-len(service(""))), none},
		{"variables", many(1000, "variable \"v%d\" {\n default = 1\n}") + service(""), many(1001, "variable \"v%d\" {\n default = 1\n}") + service(""), none},
		{"locals", "locals {\n" + many(1000, "l%d = 1") + "}\n" + service(""), "locals {\n" + many(1001, "l%d = 1") + "}\n" + service(""), none},
		{"schedules", service("scale {\n" + many(32, "schedule \"s%d\" {\n cron = \"@daily\"\n duration = \"1h\"\n min = 1\n}") + "}"),
			service("scale {\n" + many(33, "schedule \"s%d\" {\n cron = \"@daily\"\n duration = \"1h\"\n min = 1\n}") + "}"), none},
		{"traffic", service(many(32, "traffic {\n revision = \"latest\"\n percent = 3.125 - 3.125 + (1 == %[1]d ? 100 : 0)\n tag = \"t%[1]d\"\n}")),
			service(many(33, "traffic {\n revision = \"latest\"\n tag = \"t%d\"\n}")), none},
		{"routes", service(many(32, "route \"r%[1]d\" {\n tag = \"a\"\n match {\n path = \"/%[1]d\"\n }\n}")),
			service(many(33, "route \"r%[1]d\" {\n tag = \"a\"\n match {\n path = \"/%[1]d\"\n }\n}")), none},
		{"conditions of a route", service("route \"r\" {\n tag = \"a\"\n match {\n" + many(8, "header \"x-%[1]d\" {\n present = true\n}\nquery \"q%[1]d\" {\n present = true\n}") + "}\n}"),
			service("route \"r\" {\n tag = \"a\"\n match {\n" + many(9, "header \"x-%[1]d\" {\n present = true\n}\nquery \"q%[1]d\" {\n present = true\n}") + "}\n}"), none},
		{"a route's name", service("route \"" + strings.Repeat("x", 63) + "\" {\n tag = \"a\"\n match {\n path = \"/\"\n }\n}"),
			service("route \"" + strings.Repeat("x", 64) + "\" {\n tag = \"a\"\n match {\n path = \"/\"\n }\n}"), none},
		{"a parameter's name", service("route \"r\" {\n tag = \"a\"\n match {\n query \"" + strings.Repeat("x", 128) + "\" {\n present = true\n}\n }\n}"),
			service("route \"r\" {\n tag = \"a\"\n match {\n query \"" + strings.Repeat("x", 129) + "\" {\n present = true\n}\n }\n}"), none},
		{"elements of a list", service("domains = [" + strings.ReplaceAll(many(100, `"d%d.example.com",`), "\n", "") + "]"),
			service("domains = [" + strings.ReplaceAll(many(101, `"d%d.example.com",`), "\n", "") + "]"), none},
		{"entries of meta", service(entries(64)), service(entries(65)), none},
		{"an entry of meta", service(`meta = { k = "` + strings.Repeat("x", 1023) + `" }`), service(`meta = { k = "` + strings.Repeat("x", 1024) + `" }`), none},
		{"a text", service(`serving_task = "` + strings.Repeat("x", 1024) + `"`), service(`serving_task = "` + strings.Repeat("x", 1025) + `"`), none},
		{"a schedule's name", service("scale {\nschedule \"" + strings.Repeat("x", 40) + "\" {\n cron = \"@daily\"\n duration = \"1h\"\n min = 1\n}\n}"),
			service("scale {\nschedule \"" + strings.Repeat("x", 41) + "\" {\n cron = \"@daily\"\n duration = \"1h\"\n min = 1\n}\n}"), none},
		{"values of expressions", "", "locals {\n a = \"" + strings.Repeat("x", 1<<16) + "\"\n b = [" + strings.Repeat("local.a,", 100) + "]\n}\n" + service(`meta = { k = join("", local.b) }`), none},
		{"a nested value", "", nestedLocals(105) + service(""), none},
		{"width of a format", service(`meta = { k = format("%999s", "") }`), service(`meta = { k = format("%1000s", "") }`), none},
		{"indentation", service(`meta = { k = indent(1000, "") }`), service(`meta = { k = indent(1001, "") }`), none},
		{"digits", "", service(`priority = parseint("` + strings.Repeat("1", 1001) + `", 10)`), none},
		{"decoded text", "", "locals {\n a = \"" + strings.Repeat("x", 65<<10) + "\"\n}\n" + service(`meta = { k = jsondecode(local.a) }`), none},
		{"nested JSON", "", service(`meta = { k = jsondecode("` + strings.Repeat("[", 101) + `") }`), none},
		{"YAML with aliases", "", service(`meta = { k = yamldecode("a: &x 1\nb: *x") }`), none},
		{"a nested variable", "", "variable \"deep\" {\n type = list(string)\n}\n" + service(""), jobspecs.Options{Variables: map[string]string{"deep": strings.Repeat("[", 20_000)}}},
		{"instances by default", "", service("scale {\n initial = 2\n schedule \"a\" {\n cron = \"@daily\"\n duration = \"1h\"\n min = 2\n}\n}"), jobspecs.Options{Limits: jobspecs.Limits{MaxInstances: 1}}},
		{"defaults beyond a limit that was lowered", "", service(""), jobspecs.Options{
			Limits: jobspecs.Limits{MaxInstances: 3}, Defaults: defaults(t, "scale {\n min = 5\n}\n"),
		}},
		{"the agent's limits", service("scale {\n max = 3\n}\ntimeout {\n request = \"1m\"\n}"), service("scale {\n max = 4\n}"), tight},
		{"the agent's bytes", "", service("") + "#" + strings.Repeat("x", 64<<10), tight},
	} {
		if tt.just != "" {
			if _, problems := jobspecs.Parse(jobspecs.File{Name: "a.hcl", Source: []byte(tt.just)}, tt.o); len(problems) > 0 {
				t.Errorf("%s: as much as is allowed is refused:\n%.500s", tt.what, texts(problems))
			}
		}
		_, problems := jobspecs.Parse(jobspecs.File{Name: "a.hcl", Source: []byte(tt.tooLarge)}, tt.o)
		if len(problems) == 0 {
			t.Errorf("%s: too much is accepted", tt.what)
		}
		for _, p := range problems {
			if len(p.String()) > 2000 {
				t.Errorf("%s: a message of %d bytes", tt.what, len(p.String()))
			}
		}
		fmt.Fprintf(&out, "%s\n  %s\n", tt.what, strings.ReplaceAll(strings.TrimSpace(texts(problems)), "\n", "\n  "))
	}
	golden(t, "testdata/bounds.golden", []byte(out.String()))
}

// The label of a block is in every problem inside it, and does not make the report many
// times as long as the file.
func TestBounds_LongLabel(t *testing.T) {
	label := strings.Repeat("ä", 200_000)
	for _, block := range []string{"upstream %q {\n%s}\ninstance {\n}\n", "instance {\ntask %q {\nenv {\n%s}\n}\n}\n"} {
		src := "service \"shop\" {\n" + fmt.Sprintf(block, label, many(90, "WADI_%d = 1")) + "}\n"
		_, problems := jobspecs.Parse(jobspecs.File{Name: "shop.hcl", Source: []byte(src)}, jobspecs.Options{})
		if report := texts(problems); len(problems) < 90 || len(report) > 1<<20 || !strings.Contains(report, "…") {
			t.Errorf("%d problems with %d bytes: %.200s", len(problems), len(report), report)
		}
	}
}
