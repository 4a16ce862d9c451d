package convert_test

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi/jobspecs"
	"github.com/wadi-run/wadi/jobspecs/convert"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// sources are the files of testdata that are converted.
func sources(t testing.TB) (all []string) {
	t.Helper()
	for _, pattern := range []string{"*.nomad.hcl", "*.json", "*.yaml"} {
		found, err := filepath.Glob("testdata/" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	if len(all) < 12 {
		t.Fatalf("only %d sources", len(all))
	}
	return all
}

func read(t testing.TB, path string) jobspecs.File {
	t.Helper()
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return jobspecs.File{Name: filepath.Base(path), Source: src}
}

// TestGolden converts jobs and services as people have them. The result has its notes
// behind it.
func TestGolden(t *testing.T) {
	for _, path := range sources(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			got, problems := convert.Convert(read(t, path))
			out := string(got.HCL) + "\n"
			for _, p := range append(got.Notes, problems...) {
				out += "# note " + p.String() + "\n"
			}
			golden := path + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(out), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), out); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if len(got.HCL) > 0 {
				drafts, problems := jobspecs.Parse(jobspecs.File{Name: "got.hcl", Source: got.HCL}, jobspecs.Options{})
				for _, p := range problems {
					t.Errorf("the result has the problem %s", p)
				}
				if len(drafts) == 0 {
					t.Error("the result has no service")
				}
			} else if !strings.Contains(out, "# note ") {
				t.Error("no result, and no reason")
			}
		})
	}
}

// text converts a source of a name.
func text(name, source string) (string, string) {
	got, problems := convert.Convert(jobspecs.File{Name: name, Source: []byte(source)})
	var said strings.Builder
	for _, p := range append(got.Notes, problems...) {
		said.WriteString(p.String() + "\n")
	}
	return string(got.HCL), said.String()
}

func TestConvert_NoResult(t *testing.T) {
	deep := strings.Repeat("[", 200)
	for _, tt := range []struct{ name, source, want string }{
		{"a.hcl", "", "a.hcl:1: no Nomad job in this file"},
		{"a.hcl", "job {", "a.hcl:1"},
		{"a.hcl", `job "a" { type = var.type }`, "a.hcl:1,11: job.type: only jobs of type"},
		{"a.hcl", `job "a" {}`, "a.hcl:1,1: job.group: the job has no group"},
		{"a.json", "{", "not JSON"},
		{"a.json", "{\n\"ID\": 1}\nx", "a.json:2: not JSON: there is more behind"},
		{"a.json", "{\n\"Job\": {\"ID\": \"a\"}}", "a.json:2: job: no Nomad job"},
		{"a.json", "{\"a\": " + deep, "nested more than 100 deep"},
		{"a.json", "{\"ID\": \"a\",\n\"Type\": \"batch\",\n\"TaskGroups\": [{\"Name\": \"g\"}]}", "a.json:2: job.type: only jobs"},
		{"a.yaml", "a: b", "a.yaml:1: kind: no service in this file"},
		{"a.yaml", "a:\n  - b\n c: d", "a.yaml:"},
		{"a.yaml", "a: " + deep, "a.yaml:"},
		{"a.hcl", "#" + strings.Repeat("x", convert.MaxSource), "at most 1048576 can be converted"},
	} {
		hcl, said := text(tt.name, tt.source)
		if hcl != "" || !strings.Contains(said, tt.want) {
			t.Errorf("%.40q: got %q and %q, want %q", tt.source, hcl, said, tt.want)
		}
	}
}

func TestConvert_UnknownIsNamed(t *testing.T) {
	hcl, said := text("a.hcl", `sparkle {}
job "a" {
  glitter = 1
  group "g" {
    shine = true
    task "t" {
      driver = "docker"
      turbo  = true
    }
  }
}`)
	for _, want := range []string{"a.hcl:1,1: warning: sparkle: unknown", "a.hcl:3,3: warning: job.glitter: unknown", "a.hcl:5,5: warning: group.shine: unknown", "a.hcl:8,7: warning: task.turbo: unknown"} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in %s", want, said)
		}
	}
	for _, want := range []string{"#   sparkle {}", "#   glitter = 1", "shine = true", "turbo = true", "a.hcl:8: task.turbo"} {
		if !strings.Contains(hcl, want) {
			t.Errorf("no %q in:\n%s", want, hcl)
		}
	}
}

// A job of an API on one line has no lines that a user could look up.
func TestConvert_JSONOfOneLine(t *testing.T) {
	hcl, said := text("job a", `{"ID":"a","Type":"service","Region":"global","Sparkle":1,"TaskGroups":[{"Name":"g","Tasks":[{"Name":"t","Driver":"docker"}]}]}`)
	if !strings.Contains(hcl, "# job a: job.region: not carried over") || !strings.Contains(said, "job a: warning: job.Sparkle: unknown") {
		t.Errorf("got %s\n%s", hcl, said)
	}
}

// Names that can't be names here are changed, and two groups never get the same.
func TestConvert_Names(t *testing.T) {
	hcl, said := text("a.hcl", `job "wadi_x" {
  group "a" {
    service {
      name = "same"
      port = "80"
    }
    task "t" { driver = "docker" }
  }
  group "b" {
    service {
      name = "same"
      port = "80"
    }
    task "t" { driver = "docker" }
  }
  group "c" {
    task "t" { driver = "docker" }
  }
}`)
	for _, want := range []string{`service "same" {`, `service "same-2" {`, `service "my-wadi-x-c" {`} {
		if !strings.Contains(hcl, want) {
			t.Errorf("no %s in:\n%s", want, hcl)
		}
	}
	if strings.Count(said, "service.name") != 2 {
		t.Errorf("got %s", said)
	}
}

// A function that reads files is named at its place.
func TestConvert_Files(t *testing.T) {
	_, said := text("a.hcl", "job \"a\" {\n group \"g\" {\n task \"t\" {\n driver = \"docker\"\n template {\n data = file(\"x\")\n destination = \"y\"\n}\n}\n}\n}")
	if !strings.Contains(said, "a.hcl:6,9: warning: file: the agent evaluates the file") {
		t.Errorf("got %s", said)
	}
}

// The meta of a job and of its group is one here, and the group's keys win, as in Nomad.
func TestConvert_Meta(t *testing.T) {
	for _, group := range []string{"meta { own = 1 }", "meta {\n own = 1\n }", "meta {\n}"} {
		hcl, said := text("a.hcl", "job \"a\" {\n meta {\n own = 2\n more = 3\n }\n group \"g\" {\n "+group+"\n task \"t\" {\n driver = \"docker\"\n }\n }\n}")
		own := strings.Contains(group, "own")
		spaces := regexp.MustCompile(" +")
		hcl = spaces.ReplaceAllString(hcl, " ")
		if strings.Count(hcl, "more = 3") != 1 || strings.Contains(hcl, "own = 2") == own || strings.Contains(said, "meta") || strings.Count(hcl, "meta {") != 1 {
			t.Errorf("got %s\n%s", hcl, said)
		}
	}
}

// A block on one line that gets a comment has lines of its own.
func TestConvert_OneLine(t *testing.T) {
	hcl, said := text("a.hcl", `job "a" {
  group "g" {
    network { mode = "cni/x" }
    task "t" { turbo = 1 }
  }
}`)
	if !strings.Contains(hcl, "      turbo = 1\n    }") || strings.Contains(said, "the result") {
		t.Errorf("got %s\n%s", hcl, said)
	}
	if hcl, said := text("a.hcl", `job "a" { shine = 1 }`); hcl != "" || !strings.Contains(said, "no group") {
		t.Errorf("got %s\n%s", hcl, said)
	}
}
