//go:build e2e

package doctor_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/internal/toolchain"
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

// The steps that init prints, as they are printed, bring an agent up as a Nomad job, with its
// workload identity alone. What the test changes are ports and the address of
// Consul's agent, as those of the test's cluster are not the usual ones.
func TestInit_StepsBringAnAgentUp(t *testing.T) {
	w := stack.Init(t, stack.AgentTokens)
	for _, n := range w.Notes { // The tokens of agents may ask all that init asks, but for an agent's own settings.
		if strings.Contains(n, "not known") {
			t.Errorf("note: %s", n)
		}
	}
	w = stack.Init(t, management)
	t.Cleanup(func() {
		_, _, err := stack.Nomad.Jobs().Deregister("wadi", true, (&nomad.WriteOptions{}).WithContext(context.WithoutCancel(t.Context())))
		harnesstest.Must(t, "stop the job", err)
	})
	done := ""
	for _, s := range w.Steps {
		command := s.Command
		switch {
		case command == "nomad setup consul", command == "wadi doctor", strings.Contains(command, "wadi-node.nomad.hcl"):
			continue // The cluster has had it, the test does it, and the programs are there.
		case strings.Contains(command, "consul acl policy create"): // The stack's own has the name, and the same rules.
			harnesstest.Must(t, "write Consul's policy", stack.SetConsulPolicy(t.Context(), "wadi", w.Read(t, "consul-policy.hcl")))
			continue
		case command == "nomad job run wadi.nomad.hcl":
			command += " -detach"
			command = strings.Replace(command, "wadi.nomad.hcl -detach", "-detach -var api_port=0 -var metrics_port=0 -var activator_port=0 -var gateway_port=0 -var consul_address="+stack.Cluster.ConsulAddr+" wadi.nomad.hcl", 1)
		}
		done += command + "\n"
		cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
		tools, _ := toolchain.Locate(t.Context())
		cmd.Dir, cmd.Env = w.Dir, append(os.Environ(), "PATH="+strings.Join(append(tools.Dirs(), os.Getenv("PATH")), ":"), "NOMAD_ADDR="+stack.Cluster.NomadAddr,
			"NOMAD_TOKEN="+harness.Management, "CONSUL_HTTP_ADDR="+stack.Cluster.ConsulAddr, "CONSUL_HTTP_TOKEN="+harness.Management)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	for _, want := range []string{"nomad acl policy apply -namespace default -job wadi ", "consul acl binding-rule create ", "nomad job run "} {
		if !strings.Contains(done, want) {
			t.Errorf("no step %q in\n%s", want, done)
		}
	}
	t.Cleanup(func() { // Before the job is stopped.
		if t.Failed() {
			whyNot(t, "wadi")
		}
	})
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		for _, f := range doctor(t, stack.Agent) {
			if name, is := strings.CutSuffix(f.About, ": agent"); is && name != stack.Agent.Name && f.What == "it is healthy" {
				return nil
			}
		}
		return fmt.Errorf("the doctor knows no healthy agent besides %s: %+v", stack.Agent.Name, doctor(t, stack.Agent))
	})
}

// whyNot logs Nomad's events of a job's tasks, and what they wrote.
func whyNot(t *testing.T, job string) {
	q := (&nomad.QueryOptions{}).WithContext(context.WithoutCancel(t.Context()))
	evals, _, err := stack.Nomad.Jobs().Evaluations(job, q)
	for _, e := range evals {
		t.Logf("evaluation %s: %s, %+v", e.Status, e.StatusDescription, e.FailedTGAllocs)
	}
	allocs, _, err2 := stack.Nomad.Jobs().Allocations(job, true, q)
	t.Log(err, err2, len(allocs))
	for _, a := range allocs {
		for name, s := range a.TaskStates {
			for _, e := range s.Events {
				t.Logf("%s %s: %s %s", a.ID, name, e.Type, e.DisplayMessage)
			}
			files, _ := filepath.Glob(filepath.Join(stack.Cluster.Dir, "n", "alloc", a.ID, "alloc", "logs", name+".*"))
			for _, f := range files {
				text, _ := os.ReadFile(f) // What there is of it.
				t.Logf("%s:\n%s", f, text[max(0, len(text)-3000):])
			}
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
