package jobspecs_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/jobspecs"
)

func body(t *testing.T, file string) hcl.Body {
	t.Helper()
	f, diags := hclsyntax.ParseConfig(read(t, file), file, hcl.Pos{Line: 1, Column: 1})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return f.Body
}

func texts(problems []wadi.Problem) string {
	var out strings.Builder
	for _, p := range problems {
		fmt.Fprintln(&out, p)
	}
	return out.String()
}

func parseOne(t *testing.T, src string, o jobspecs.Options) (*jobspecs.Draft, []wadi.Problem) {
	t.Helper()
	drafts, problems := jobspecs.Parse(jobspecs.File{Name: "a.hcl", Source: []byte(src)}, o)
	if len(drafts) != 1 {
		t.Fatalf("%d drafts, want one; problems:\n%s", len(drafts), texts(problems))
	}
	return drafts[0], problems
}

func TestParseDefaults(t *testing.T) {
	d, problems := jobspecs.ParseDefaults(body(t, "testdata/defaults/good.hcl"))
	if len(problems) > 0 {
		t.Fatalf("problems:\n%s", texts(problems))
	}
	data, err := json.Marshal(d.Service())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/defaults/good.golden", indented(t, data))

	_, problems = jobspecs.ParseDefaults(body(t, "testdata/defaults/bad.hcl"))
	golden(t, "testdata/defaults/bad.golden", []byte(texts(problems)))
}

func TestParse_ServiceOverDefaults(t *testing.T) {
	d, _ := jobspecs.ParseDefaults(body(t, "testdata/defaults/good.hcl"))
	for _, tt := range []struct {
		name, in string
		want     func(s *wadi.Service)
	}{
		{"nothing set", "", func(*wadi.Service) {}},
		{"meta is added", `meta = { tier = "1", x = "y" }`, func(s *wadi.Service) {
			s.Meta = map[string]string{"owner": "platform", "tier": "1", "x": "y"}
		}},
		{"one kind of probe replaces another", "probe {\n tcp = true\n}", func(s *wadi.Service) {
			s.Probe = wadi.Probe{TCP: true, Timeout: wadi.Duration(2 * time.Second)}
		}},
		{"the kind of probe stays", "probe {\n timeout = \"3s\"\n}", func(s *wadi.Service) {
			s.Probe.Timeout = wadi.Duration(3 * time.Second)
		}},
		{"same metric keeps its target", "scale {\n metric \"rps\" {\n utilization = 1\n}\n}", func(s *wadi.Service) {
			s.Scale.Metrics = []wadi.MetricTarget{{Metric: wadi.RPS, Target: 7, Utilization: 1}}
		}},
		{"another metric has its own", "scale {\n metric \"concurrency\" {\n}\n}", func(s *wadi.Service) {
			s.Scale.Metrics = []wadi.MetricTarget{{Metric: wadi.Concurrency, Utilization: 0.7}}
		}},
		{"several, in their order", "scale {\n metric \"cpu\" {\n}\n metric \"rps\" {\n}\n}", func(s *wadi.Service) {
			s.Scale.Metrics = []wadi.MetricTarget{{Metric: wadi.CPU, Utilization: 1}, {Metric: wadi.RPS, Target: 7, Utilization: 0.5}}
		}},
		{"a schedule is added", "scale {\n schedule \"rush\" {\n cron = \"@daily\"\n duration = \"1h\"\n timezone = \"Europe/Berlin\"\n min = 3\n}\n}", func(s *wadi.Service) {
			s.Scale.Schedules = append(s.Scale.Schedules, wadi.Schedule{Name: "rush", Cron: "@daily", Duration: wadi.Duration(time.Hour), Timezone: "Europe/Berlin", Min: 3})
		}},
		{"a schedule of the defaults is switched off", "scale {\n schedule \"office\" {\n min = 0\n}\n}", func(s *wadi.Service) {
			s.Scale.Schedules[0].Min = 0
		}},
		{"null is as if not set", "priority = null", func(*wadi.Service) {}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, problems := parseOne(t, "service \"a\" {\n instance {\n}\n"+tt.in+"\n}\n", jobspecs.Options{Defaults: d})
			if len(problems) > 0 {
				t.Fatalf("problems:\n%s", texts(problems))
			}
			want := d.Service()
			want.Name = "a"
			tt.want(&want)
			if diff := cmp.Diff(want, got.Service); diff != "" {
				t.Errorf("service (-want +got):\n%s", diff)
			}
		})
	}
}

// A service that changes the defaults changes only its own copy.
func TestParse_DefaultsStay(t *testing.T) {
	d, _ := jobspecs.ParseDefaults(body(t, "testdata/defaults/good.hcl"))
	other, _ := jobspecs.ParseDefaults(body(t, "testdata/defaults/good.hcl"))
	want := other.Service()
	parseOne(t, "service \"a\" {\n instance {\n}\n scale {\n schedule \"office\" {\n min = 0\n}\n}\n}\n", jobspecs.Options{Defaults: d})
	given := d.Service()
	given.Scale.Metrics[0].Target = 99
	if diff := cmp.Diff(want, d.Service()); diff != "" {
		t.Errorf("the defaults changed (-before +after):\n%s", diff)
	}
}

func TestParse_DefaultsCollide(t *testing.T) {
	d, _ := jobspecs.ParseDefaults(body(t, "testdata/defaults/good.hcl"))
	_, problems := parseOne(t, "service \"a\" {\n  mesh = \"envoy\"\n  instance {\n  }\n}\n", jobspecs.Options{Defaults: d})
	want := `a.hcl:2,10: mesh: Envoy can't be in the host's network: mesh "envoy" needs network "bridge"; set network = "bridge" or mesh = "off" (network is set by default)` + "\n"
	if got := texts(problems); got != want {
		t.Errorf("problems:\n%swant:\n%s", got, want)
	}
}

func TestParse_Limits(t *testing.T) {
	o := jobspecs.Options{Limits: jobspecs.Limits{MaxInstances: 3, MaxRequestTimeout: time.Minute, MaxSpecBytes: 400}}
	_, problems := parseOne(t, "service \"a\" {\n  instance {\n  }\n  scale {\n    min = 4\n    activation = 5\n }\n}\n", o)
	want := `a.hcl:1,1: timeout.request: 5m is above the agent's limits.max_request_timeout (1m)
a.hcl:5,11: scale.min: must be between 0 and 3, got 4 (the upper bound is the agent's limits.max_instances)
a.hcl:6,18: scale.activation: must be between 1 and 3, got 5 (the upper bound is the agent's limits.max_instances)
`
	if got := texts(problems); got != want {
		t.Errorf("problems:\n%swant:\n%s", got, want)
	}

	drafts, problems := jobspecs.Parse(jobspecs.File{Name: "a.hcl", Source: make([]byte, 401)}, o)
	want = "a.hcl:1,1: the file has 401 bytes, more than the 400 that are allowed (limits.max_spec_bytes of the agent)\n"
	if got := texts(problems); got != want || len(drafts) > 0 {
		t.Errorf("problems:\n%swant:\n%s", got, want)
	}
	_, problems = jobspecs.Parse(jobspecs.File{Name: "a.hcl", Source: make([]byte, 2<<20)}, jobspecs.Options{})
	if got := texts(problems); !strings.Contains(got, "1048576") {
		t.Errorf("2 MiB: problems:\n%s", got)
	}
}

func TestParse_TooManyServices(t *testing.T) {
	var src strings.Builder
	for i := range jobspecs.MaxServices + 1 {
		fmt.Fprintf(&src, "service \"s%d\" {\n  instance {\n  }\n}\n", i)
	}
	_, problems := jobspecs.Parse(jobspecs.File{Name: "a.hcl", Source: []byte(src.String())}, jobspecs.Options{})
	want := "a.hcl:65,1: 17 services are submitted at once, at most 16 may be; submit them in parts\n"
	if got := texts(problems); got != want {
		t.Errorf("problems:\n%swant:\n%s", got, want)
	}
}

func TestParse_ManyProblemsAreBounded(t *testing.T) {
	src := "service \"a\" {\n instance {\n }\n" + strings.Repeat("x {\n}\n", 500) + "}\n"
	_, problems := parseOne(t, src, jobspecs.Options{})
	if n := len(problems); n != 100 {
		t.Fatalf("%d problems, want 100", n)
	}
	if got, want := problems[99].String(), "a.hcl:202,1: … and 401 more problems from here on"; got != want {
		t.Errorf("last is %q, want %q", got, want)
	}
}

func TestParseFiles_VariablesOfAllFiles(t *testing.T) {
	files := []jobspecs.File{
		{Name: "a.hcl", Source: []byte("variable \"x\" {}\nservice \"a\" {\n  namespace = var.x\n  instance {\n  }\n}\n")},
		{Name: "b.hcl", Source: []byte("service \"b\" {\n  instance {\n  }\n}\n")},
	}
	drafts, problems := jobspecs.ParseFiles(files, jobspecs.Options{Variables: map[string]string{"x": "web"}})
	if len(problems) > 0 || len(drafts) != 2 {
		t.Fatalf("%d drafts, problems:\n%s", len(drafts), texts(problems))
	}
	if got := drafts[0].Service.Namespace; got != "web" {
		t.Errorf("namespace %q, want web", got)
	}
	if _, vars := drafts[0].NomadSource(); vars != "x = \"web\"\n" {
		t.Errorf("variables for Nomad: %q", vars)
	}
	files[1].Source = []byte("service \"a\" {\n  instance {\n  }\n}\n")
	_, problems = jobspecs.ParseFiles(files, jobspecs.Options{Variables: map[string]string{"x": "web", "y": "1"}})
	want := `b.hcl:1,9: name: there is a service "a" already, at a.hcl:2; give one of them another name
a.hcl:1,1: var.y: a value for variable "y" was given, but no file declares it; add: variable "y" {}
`
	if got := texts(problems); got != want {
		t.Errorf("problems:\n%swant:\n%s", got, want)
	}
}

// TestParse_Deep: a parser that overflows its stack would end the agent.
func TestParse_Deep(t *testing.T) {
	for name, expr := range map[string]string{
		"brackets": strings.Repeat("[", 20_000), "parentheses": strings.Repeat("(", 20_000),
		"operators": strings.Repeat("1+", 40_000) + "1", "not": strings.Repeat("!", 20_000) + "true",
		"conditionals": strings.Repeat("1?", 40_000) + "1", "else": strings.Repeat("1?1:", 20_000) + "1",
		"indices": "f()" + strings.Repeat("[0]", 30_000), "attributes": "f()" + strings.Repeat(".a", 40_000),
		"splats": "f()" + strings.Repeat("[*]", 30_000), "templates": strings.Repeat("\"${", 30_000),
		"directives": "\"" + strings.Repeat("%{if true}", 20_000), "blocks": "1\n" + strings.Repeat("a {\n", 20_000),
	} {
		t.Run(name, func(t *testing.T) {
			src := "service \"a\" {\n  port = " + expr + "\n  instance {\n  }\n}\n"
			_, problems := jobspecs.Parse(jobspecs.File{Name: "a.hcl", Source: []byte(src)}, jobspecs.Options{})
			if len(problems) != 1 || !strings.Contains(problems[0].Message, "nested more than") {
				t.Errorf("problems: %.300s", texts(problems))
			}
		})
	}
	wide := "service \"a\" {\n  domains = [" + strings.Repeat("\"a.${1+1}.b\",\n", 90) + "]\n" +
		"  instance {\n" + strings.Repeat("    # a-b-c\n    a = b.c.d - 1\n", 2000) + "  }\n}\n"
	_, problems := jobspecs.Parse(jobspecs.File{Name: "a.hcl", Source: []byte(wide)}, jobspecs.Options{})
	if strings.Contains(texts(problems), "nested") {
		t.Errorf("a long file is not a deep one: %.300s", texts(problems))
	}
}

func TestFormat(t *testing.T) {
	got, problems := jobspecs.Format([]byte("service \"a\" {\nport=80\n  priority   = 5\n}"))
	if want := "service \"a\" {\n  port     = 80\n  priority = 5\n}"; string(got) != want || len(problems) > 0 {
		t.Errorf("got %q, %v", got, problems)
	}
	bad := "service {"
	got, problems = jobspecs.Format([]byte(bad))
	if string(got) != bad || !jobspecs.HasErrors(problems) || problems[0].Line != 1 {
		t.Errorf("got %q, %v", got, problems)
	}
}

// FuzzParse: no submission causes a panic, and every problem has a place in the file.
func FuzzParse(f *testing.F) {
	for _, dir := range []string{"testdata/specs", "testdata/errors", "examples"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			f.Fatal(err)
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".hcl") {
				src, err := os.ReadFile(dir + "/" + e.Name())
				if err != nil {
					f.Fatal(err)
				}
				f.Add(src, "x", "1")
			}
		}
	}
	f.Fuzz(func(t *testing.T, src []byte, name, value string) {
		o := jobspecs.Options{Variables: map[string]string{name: value}, Limits: jobspecs.Limits{MaxSpecBytes: 1 << 16}}
		drafts, problems := jobspecs.Parse(jobspecs.File{Name: "a.hcl", Source: src}, o)
		for _, d := range drafts {
			d.NomadSource()
			_, more := d.Complete([]byte(`{"TaskGroups":[{"Tasks":[{"Name":"web"},{"Name":"b","Env":{"PORT":"1"}}]}]}`))
			problems = append(problems, more...)
			problems = append(problems, d.ParseErrors(value)...)
		}
		lines := strings.Count(string(src), "\n") + 1
		for _, p := range problems {
			if p.Line < 1 || p.Line > lines || p.Column < 1 || p.Message == "" || p.File != "a.hcl" {
				t.Errorf("problem out of place (%d lines): %+v", lines, p)
			}
		}
	})
}
