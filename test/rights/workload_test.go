//go:build e2e

package rights_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	nomadapi "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/internal/toolchain"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

const workloadJob = "wadi-agents"

// An agent that runs as a job of Nomad has no token in its configuration: its workload
// identity is that of Nomad, over the task's own socket, and Nomad logs it in to Consul. It
// has its rights by the commands that the doctor prints, leads with them, and wakes.
func TestWorkload_NoTokens(t *testing.T) {
	a, err := stack.NewAgent("wadi-job", "")
	harnesstest.Must(t, "configure an agent", err)
	// Last of all, when the job that has lost its rights does not lead any more.
	t.Cleanup(func() {
		harnesstest.Must(t, "delete", stack.Agent.Delete(context.WithoutCancel(t.Context()), "identity"))
	})
	runPrinted(t, "nomad")
	runPrinted(t, "consul")
	_, _, err = stack.Nomad.Jobs().Register(agentJob(t, a), nil)
	harnesstest.Must(t, "register the job", err)
	t.Cleanup(func() {
		_, _, err := stack.Nomad.Jobs().Deregister(workloadJob, true, nil)
		harnesstest.Must(t, "stop the job", err)
	})
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error { return a.Client.Health(t.Context()) })
	harnesstest.Must(t, "apply", a.Apply(t.Context(), harnesstest.Hello("identity", `window = "6s"`, "")))

	// It leads once the other one is gone.
	harnesstest.Must(t, "stop the agent with tokens", stack.Agent.Stop(t.Context()))
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		harnesstest.Must(t, "start the agent with tokens", stack.Agent.Start(ctx))
		harnesstest.Must(t, "wait for it", stack.Agent.WaitLeader(ctx))
	})
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		leader, err := a.Client.Leader(t.Context())
		if err == nil && leader.Name != a.Name {
			err = fmt.Errorf("%q leads", leader.Name)
		}
		return err
	})
	harnesstest.Must(t, "wait for zero", stack.WaitCount(t.Context(), "identity-00001", harnesstest.WaitLong, func(n int) bool { return n == 0 }))
	answers(t, a, "identity")
	for _, f := range doctor(t, a) {
		if f.Level == "fail" || strings.Contains(f.What, "lacks") {
			t.Errorf("the doctor found %+v", f)
		}
	}

	// Another job has nothing of it.
	_, err = stack.Nomad.ACLPolicies().Delete(workloadJob, nil)
	harnesstest.Must(t, "take the rights away", err)
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		if i := slices.IndexFunc(doctor(t, a), func(f finding) bool { return strings.Contains(f.What, "lacks submit-job") }); i < 0 {
			return errors.New("the doctor does not say that submit-job is lacking")
		}
		return nil
	})
}

// runPrinted runs the commands that the doctor prints above a policy, with that policy.
func runPrinted(t *testing.T, system string) {
	t.Helper()
	p, err := stack.LeastPolicies(t.Context(), "-job", workloadJob)
	harnesstest.Must(t, "print the policies", err)
	text := map[string]string{"nomad": p.Nomad, "consul": p.Consul}[system]
	file := filepath.Join(t.TempDir(), "policy.hcl")
	harnesstest.Must(t, "write the policy", os.WriteFile(file, []byte(text), 0o600))
	tools, _ := toolchain.Locate(t.Context())
	ran := 0
	for line := range strings.Lines(text) {
		command, is := strings.CutPrefix(line, "#   ")
		if !is {
			continue
		}
		ran++
		cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(command, "FILE", file))
		cmd.Env = append(os.Environ(), "PATH="+strings.Join(append(tools.Dirs(), os.Getenv("PATH")), ":"),
			"NOMAD_ADDR="+stack.Cluster.NomadAddr, "NOMAD_TOKEN="+harness.Management,
			"CONSUL_HTTP_ADDR="+stack.Cluster.ConsulAddr, "CONSUL_HTTP_TOKEN="+harness.Management)
		out, err := cmd.CombinedOutput()
		harnesstest.Must(t, command+string(out), err)
	}
	if ran == 0 {
		t.Fatalf("no command is above the policy:\n%s", text)
	}
}

// agentJob is a job of Nomad that runs an agent, without its tokens.
func agentJob(t *testing.T, a *harness.Agent) *nomadapi.Job {
	t.Helper()
	config, err := os.ReadFile(a.Config)
	harnesstest.Must(t, "read the configuration", err)
	if strings.Contains(string(config), "token") {
		t.Fatalf("the configuration has a token:\n%s", config)
	}
	const address = "address = %q"
	was := fmt.Sprintf(address, stack.Cluster.NomadAddr)
	if !strings.Contains(string(config), was) {
		t.Fatalf("the configuration does not say %s", was)
	}
	text := strings.ReplaceAll(string(config), was, fmt.Sprintf(address, `unix://{{ env "NOMAD_SECRETS_DIR" }}/api.sock`))
	text = strings.ReplaceAll(text, `\"`, `"`) // Inside of the template's braces.
	file := "local/wadi.hcl"
	task := nomadapi.NewTask("agent", "raw_exec")
	task.Config = map[string]any{"command": filepath.Join(stack.Bin, "wadi"), "args": []string{"agent", "-config", file}}
	task.Templates = []*nomadapi.Template{{EmbeddedTmpl: &text, DestPath: &file}}
	task.Identity = &nomadapi.WorkloadIdentity{Env: true}
	task.Consul = &nomadapi.Consul{}
	job := nomadapi.NewServiceJob(workloadJob, workloadJob, "global", 50)
	return job.AddTaskGroup(nomadapi.NewTaskGroup("agents", 1).AddTask(task))
}
