package jobspecs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/jobspecs"
)

var (
	update = flag.Bool("update", false, "rewrite the golden files")
	nomad  = flag.String("nomad", "", "address of a Nomad agent, to record anew what its parser says")
)

// golden compares got with a file, or writes it.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// optionsOf reads the variables of a test file from its first line: "# vars: a=1 b=x".
func optionsOf(src []byte) jobspecs.Options {
	var o jobspecs.Options
	line, _, _ := strings.Cut(string(src), "\n")
	given, ok := strings.CutPrefix(line, "# vars: ")
	if !ok {
		return o
	}
	o.Variables = map[string]string{}
	for _, pair := range strings.Fields(given) {
		name, value, _ := strings.Cut(pair, "=")
		o.Variables[name] = value
	}
	return o
}

// parsed returns the answer of a real Nomad's parser about d: it is recorded beside the
// file, as <file>.<service>.json or, for a refusal, .txt.
func parsed(t *testing.T, file string, d *jobspecs.Draft) (job []byte, refusal string) {
	t.Helper()
	base := strings.TrimSuffix(file, ".hcl") + "." + d.Service.Name
	if *nomad != "" {
		record(t, base, d)
	}
	if job, err := os.ReadFile(base + ".json"); err == nil {
		return job, ""
	}
	text, err := os.ReadFile(base + ".txt")
	if err != nil {
		t.Fatalf("nothing recorded: %v", err)
	}
	return nil, string(text)
}

func record(t *testing.T, base string, d *jobspecs.Draft) {
	t.Helper()
	hcl, variables := d.NomadSource()
	body, err := json.Marshal(map[string]any{"JobHCL": hcl, "Variables": variables})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(*nomad+"/v1/jobs/parse", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	name, other := base+".json", base+".txt"
	if resp.StatusCode != http.StatusOK {
		name, other = other, name
	}
	if err := os.Remove(other); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, answer, 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func files(t *testing.T, pattern string) []string {
	t.Helper()
	all, err := filepath.Glob(pattern)
	if err != nil || len(all) == 0 {
		t.Fatalf("glob %s: %v, %d files", pattern, err, len(all))
	}
	return all
}

func indented(t *testing.T, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := json.Indent(&out, data, "", "  "); err != nil {
		t.Fatal(err)
	}
	out.WriteByte('\n')
	return out.Bytes()
}

// testAgent is an agent like that of the development cluster.
func testAgent() jobspecs.Agent {
	return jobspecs.Agent{
		QueueProxyTask: json.RawMessage(`{"Driver":"raw_exec","Config":{"command":"queue-proxy"},"Resources":{"CPU":50,"MemoryMB":64},"Env":{"GOGC":"200"}}`),
		SidecarTask:    json.RawMessage(`{"Driver":"raw_exec","Config":{"command":"/bin/sh","args":["-c","exec envoy"]},"ShutdownDelay":1000000000}`),
		GatewayURL:     "http://wadi.localhost:8080",
	}
}

// TestGolden_Jobs turns each spec into its Nomad job.
func TestGolden_Jobs(t *testing.T) {
	all := append(files(t, "testdata/specs/*.hcl"), files(t, "examples/*.hcl")...)
	for _, file := range all {
		t.Run(filepath.Base(file), func(t *testing.T) {
			src := read(t, file)
			drafts, problems := jobspecs.Parse(jobspecs.File{Name: filepath.Base(file), Source: src}, optionsOf(src))
			for _, p := range problems {
				t.Errorf("problem: %s", p)
			}
			for _, d := range drafts {
				recorded := filepath.Join("testdata/specs", filepath.Base(file))
				job, refusal := parsed(t, recorded, d)
				if refusal != "" {
					t.Fatalf("Nomad refused it: %s", refusal)
				}
				s, problems := d.Complete(job)
				for _, p := range problems {
					if !p.Warning {
						t.Errorf("problem: %s", p)
					}
				}
				rev := wadi.Revision{ID: wadi.RevisionID(s.Name, 1), Service: s.Name, Number: 1, SpecHash: jobspecs.Hash(s), Spec: s}
				got, err := jobspecs.Render(rev, testAgent())
				if err != nil {
					t.Fatal(err)
				}
				base := strings.TrimSuffix(recorded, ".hcl") + "." + s.Name
				golden(t, base+".job.golden", indented(t, got))

				s.Instance = nil
				spec, err := json.Marshal(s)
				if err != nil {
					t.Fatal(err)
				}
				golden(t, base+".service.golden", indented(t, spec))
			}
		})
	}
}

// TestGolden_Errors has every error text that a user can see, with its place.
func TestGolden_Errors(t *testing.T) {
	for _, file := range files(t, "testdata/errors/*.hcl") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			src := read(t, file)
			drafts, problems := jobspecs.Parse(jobspecs.File{Name: filepath.Base(file), Source: src}, optionsOf(src))
			var out strings.Builder
			for _, p := range problems {
				out.WriteString(p.String() + "\n")
			}
			for _, d := range drafts {
				if !strings.Contains(string(src), "# ask nomad") {
					break
				}
				job, refusal := parsed(t, file, d)
				var problems []wadi.Problem
				if refusal != "" {
					problems = d.ParseErrors(refusal)
				} else {
					_, problems = d.Complete(job)
				}
				for _, p := range problems {
					out.WriteString(p.String() + "\n")
				}
			}
			golden(t, strings.TrimSuffix(file, ".hcl")+".golden", []byte(out.String()))
		})
	}
}
