//go:build e2e

package doctor_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// management has all rights in both.
var management = harness.Tokens{Nomad: harness.Management, Consul: harness.Management}

// An agent with the configuration that init writes, and tokens with the policies that it
// writes, serves a service with all its defaults, and finds nothing wrong.
func TestInit_AgentWorks(t *testing.T) {
	w := stack.Init(t, management, "-runs-as", "service", "-domain", harness.Domain)
	if w.Chosen.Driver != "raw_exec" || w.Chosen.Mesh != stack.Cluster.Mesh {
		t.Errorf("chosen: %+v", w)
	}
	harnesstest.Must(t, "write Nomad's policy", stack.SetNomadPolicy(t.Context(), "init", w.Read(t, "nomad-policy.hcl")))
	harnesstest.Must(t, "write Consul's policy", stack.SetConsulPolicy(t.Context(), "init", w.Read(t, "consul-policy.hcl")))
	ofNomad, err := stack.NomadToken(t.Context(), "init", "init")
	harnesstest.Must(t, "make a token", err)
	ofConsul, err := stack.ConsulToken(t.Context(), "init", "init")
	harnesstest.Must(t, "make a token", err)
	a := stack.InitAgent(t, w, "wadi-init", harness.Tokens{Nomad: ofNomad.SecretID, Consul: ofConsul.SecretID})

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
	w := stack.Init(t, stack.AgentTokens, "-release", "https://example.com/wadi.tar.gz", "-checksum", "sha256:00")
	for _, n := range w.Notes {
		if strings.Contains(n, "not known") {
			t.Errorf("note: %s", n)
		}
	}
	for _, job := range []string{"wadi-node.nomad.hcl", "wadi.nomad.hcl"} {
		cmd := exec.CommandContext(t.Context(), stack.Cluster.Nomad.Argv[0], "job", "validate", job)
		cmd.Dir, cmd.Env = w.Dir, append(os.Environ(), "NOMAD_ADDR="+stack.Cluster.NomadAddr, "NOMAD_TOKEN="+harness.Management)
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
	w := stack.Init(t, nothing)
	if len(w.Files) != 5 || w.Chosen.Mesh || len(w.Notes) == 0 || !strings.Contains(w.Notes[0], "nodes are not known") {
		t.Errorf("got %+v", w)
	}
	if text := w.Read(t, "wadi.hcl"); !strings.Contains(text, "ACLs on") || !strings.Contains(text, "not known") {
		t.Errorf("got\n%s", text)
	}
}
