//go:build e2e

package doctor_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// written is what wadi init says that it did.
type written struct {
	Files, Notes []string
	Steps        []struct{ What, Command string }
	Chosen       struct {
		Mesh   bool
		Driver string
	}
}

// initFor runs wadi init for the stack's cluster with these tokens, into a new folder.
func initFor(t *testing.T, tokens harness.Tokens, args ...string) (dir string, w written) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "wadi")
	cmd := exec.CommandContext(t.Context(), filepath.Join(stack.Bin, "wadi"), append([]string{"init", "-dir", dir, "-yes", "-json", "-bin", stack.Bin}, args...)...)
	cmd.Env = []string{"NOMAD_ADDR=" + stack.Cluster.NomadAddr, "CONSUL_HTTP_ADDR=" + stack.Cluster.ConsulAddr, "NOMAD_TOKEN=" + tokens.Nomad, "CONSUL_HTTP_TOKEN=" + tokens.Consul}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("init: %v: %s", err, out)
	}
	harnesstest.Must(t, "read what it did", json.Unmarshal(out, &w))
	for _, name := range w.Files {
		text, err := os.ReadFile(filepath.Join(dir, name))
		harnesstest.Must(t, "read a file", err)
		if strings.Contains(string(text), tokens.Nomad) || strings.Contains(string(text), tokens.Consul) {
			t.Errorf("%s has a token", name)
		}
	}
	return dir, w
}

// read is a file that init wrote.
func read(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	harnesstest.Must(t, "read a file", err)
	return string(text)
}

// management has all rights in both.
var management = harness.Tokens{Nomad: harness.Management, Consul: harness.Management}

// An agent with the configuration that init writes, and tokens with the policies that it
// writes, serves a service with all its defaults, and finds nothing wrong.
func TestInit_AgentWorks(t *testing.T) {
	dir, w := initFor(t, management, "-runs-as", "service", "-domain", harness.Domain)
	if w.Chosen.Driver != "raw_exec" || w.Chosen.Mesh != stack.Cluster.Mesh {
		t.Errorf("chosen: %+v", w)
	}
	harnesstest.Must(t, "write Nomad's policy", stack.SetNomadPolicy(t.Context(), "init", read(t, dir, "nomad-policy.hcl")))
	harnesstest.Must(t, "write Consul's policy", stack.SetConsulPolicy(t.Context(), "init", read(t, dir, "consul-policy.hcl")))
	ofNomad, err := stack.NomadToken(t.Context(), "init", "init")
	harnesstest.Must(t, "make a token", err)
	ofConsul, err := stack.ConsulToken(t.Context(), "init", "init")
	harnesstest.Must(t, "make a token", err)

	a, err := stack.NewAgent("wadi-init", "")
	harnesstest.Must(t, "configure an agent", err)
	listeners, err := os.ReadFile(a.Config) // Ports of the test; all else is what init wrote.
	harnesstest.Must(t, "read the configuration", err)
	own, _, _ := strings.Cut(string(listeners), "nomad {")
	base := strings.TrimSuffix(a.Config, ".hcl")
	harnesstest.Must(t, "configure the agent", os.WriteFile(a.Config, []byte(read(t, dir, "wadi.hcl")), 0o600))
	harnesstest.Must(t, "configure the agent", os.WriteFile(base+"-extra.hcl", []byte(own), 0o600))
	harnesstest.Must(t, "leave tokens out", os.Remove(base+"-tokens.hcl"))
	a.Env = []string{"NOMAD_TOKEN=" + ofNomad.SecretID, "CONSUL_HTTP_TOKEN=" + ofConsul.SecretID}
	harnesstest.Must(t, "start the agent", a.Start(t.Context()))
	t.Cleanup(func() { _ = a.Stop(context.WithoutCancel(t.Context())) })
	harnesstest.Must(t, "wait for the agent", a.WaitLeader(t.Context()))

	harnesstest.Must(t, "apply", a.Apply(t.Context(), `service "fresh" {
  instance {
    task "web" {
      driver = "raw_exec"
      config {
        command = "hello"
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
  intentions {
    allow = ["somebody"] # And callers at the gateway: Consul denies what nothing allows.
  }
}
`))
	t.Cleanup(func() { harnesstest.Must(t, "delete", a.Delete(context.WithoutCancel(t.Context()), "fresh")) })
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		res, err := a.Get(t.Context(), "fresh", "/")
		if err == nil && res.Status != http.StatusOK {
			err = fmt.Errorf("got %d: %s", res.Status, res.Body)
		}
		return err
	})
	for _, f := range doctor(t, a) {
		if f.Level == "fail" {
			t.Errorf("the doctor found %+v", f)
		}
	}
}

// Nomad's own command takes the jobs, and the tokens of agents may ask all that init asks.
func TestInit_Jobs(t *testing.T) {
	dir, w := initFor(t, stack.AgentTokens, "-release", "https://example.com/wadi.tar.gz", "-checksum", "sha256:00")
	for _, n := range w.Notes {
		if strings.Contains(n, "not known") {
			t.Errorf("note: %s", n)
		}
	}
	for _, job := range []string{"wadi-node.nomad.hcl", "wadi.nomad.hcl"} {
		cmd := exec.CommandContext(t.Context(), stack.Cluster.Nomad.Argv[0], "job", "validate", job)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "NOMAD_ADDR="+stack.Cluster.NomadAddr, "NOMAD_TOKEN="+harness.Management)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", job, err, out)
		}
	}
	steps := ""
	for _, s := range w.Steps {
		steps += s.Command + "\n"
	}
	for _, want := range []string{"nomad acl policy apply -namespace default -job wadi wadi nomad-policy.hcl\n", "nomad setup consul\n", "nomad job run wadi.nomad.hcl\n"} {
		if !strings.Contains(steps, want) {
			t.Errorf("no step %q in\n%s", want, steps)
		}
	}
}

// Without any right the files are written for what is usual, and say so.
func TestInit_WithoutRights(t *testing.T) {
	nothing := harness.Tokens{Nomad: "5f1b6c1e-9999-4000-8000-000000000000", Consul: "5f1b6c1e-9999-4000-8000-000000000001"}
	dir, w := initFor(t, nothing)
	if len(w.Files) != 5 || w.Chosen.Mesh || len(w.Notes) == 0 || !strings.Contains(w.Notes[0], "nodes are not known") {
		t.Errorf("got %+v", w)
	}
	if text := read(t, dir, "wadi.hcl"); !strings.Contains(text, "ACLs on") || !strings.Contains(text, "not known") {
		t.Errorf("got\n%s", text)
	}
}
