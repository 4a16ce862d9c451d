package convert_test

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/jobspecs"
	"github.com/wadi-run/wadi/jobspecs/convert"
)

var nomad = flag.String("nomad", "", "path of a nomad binary, to record anew what its parser makes of the results")

// TestNomadTakesResults completes each result with what Nomad's own parser makes of its
// instance, recorded beside the source, as wadi validate does.
func TestNomadTakesResults(t *testing.T) {
	for _, path := range sources(t) {
		got, _ := convert.Convert(read(t, path))
		if len(got.HCL) == 0 {
			continue
		}
		drafts, _ := jobspecs.Parse(jobspecs.File{Name: "result", Source: got.HCL}, jobspecs.Options{})
		for _, d := range drafts {
			t.Run(filepath.Base(path)+"/"+d.Service.Name, func(t *testing.T) {
				s, problems := d.Complete(parsed(t, path, d))
				for _, p := range problems {
					if !p.Warning {
						t.Errorf("the result has the problem %s", p)
					}
				}
				rev := wadi.Revision{ID: wadi.RevisionID(s.Name, 1), Service: s.Name, Number: 1, SpecHash: jobspecs.Hash(s), Spec: s}
				agent := jobspecs.Agent{QueueProxyTask: json.RawMessage(`{"Driver":"docker"}`), GatewayURL: "http://wadi.localhost"}
				if _, err := jobspecs.Render(rev, agent); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// parsed returns the job that Nomad's parser makes of d.
func parsed(t *testing.T, path string, d *jobspecs.Draft) []byte {
	t.Helper()
	file := path + "." + d.Service.Name + ".parsed"
	if *nomad != "" {
		src, variables := d.NomadSource()
		if variables != "" {
			t.Fatal("the result has variables with values from outside")
		}
		cmd := exec.Command(*nomad, "job", "run", "-output", "-")
		cmd.Stdin = strings.NewReader(src)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s\n%s", d.Service.Name, err, out, src)
		}
		var answer struct{ Job json.RawMessage }
		if err := json.Unmarshal(out, &answer); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(answer.Job, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	job, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return job
}
