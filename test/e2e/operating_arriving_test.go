//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// plainJob is a job as somebody has it who does not know Wadi.
const plainJob = `job "moved" {
  group "web" {
    count = 2
    network {
      port "http" {}
    }
    service {
      name     = "moved"
      provider = "nomad"
      port     = "http"
      check {
        type     = "http"
        path     = "/healthz"
        interval = "5s"
        timeout  = "1s"
      }
    }
    task "app" {
      driver = "raw_exec"
      config {
        command = "hello"
      }
      env {
        PORT        = "${NOMAD_PORT_http}"
        START_DELAY = "100ms"
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}
`

// A plain job, as a file and as it runs in Nomad, becomes a service that is applied as it
// is and answers.
func TestArriving_ConvertedJobAnswers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	harnesstest.Must(t, "write the job", os.WriteFile(filepath.Join(dir, "moved.nomad.hcl"), []byte(plainJob), 0o600))
	job, err := stack.Nomad.Jobs().ParseHCL(plainJob, true)
	harnesstest.Must(t, "parse the job", err)
	id := "moved-plain"
	job.ID, job.Name = &id, &id
	_, _, err = stack.Nomad.Jobs().Register(job, nil)
	harnesstest.Must(t, "register the job", err)
	t.Cleanup(func() {
		_, _, err := stack.Nomad.Jobs().Deregister(id, true, nil)
		harnesstest.Must(t, "stop the job", err)
	})
	for name, from := range map[string][]string{
		"file": {"moved.nomad.hcl"}, "cluster": {"-nomad-address", stack.Cluster.NomadAddr, "-job", id},
	} {
		res, err := stack.Agent.Wadi(t.Context(), dir, append([]string{"convert"}, from...)...)
		if err != nil || res.Code != 0 || !strings.Contains(res.Stdout, `service "moved" {`) {
			t.Fatalf("convert from a %s: %v, %v", name, res, err)
		}
		service := "moved-" + name // Both run at once, beside the job itself.
		hcl := strings.Replace(res.Stdout, `service "moved" {`, fmt.Sprintf("service %q {", service), 1)
		harnesstest.Must(t, "write the service", os.WriteFile(filepath.Join(dir, service+".hcl"), []byte(hcl), 0o600))
		applied, err := stack.Agent.Wadi(t.Context(), dir, "apply", service+".hcl")
		t.Cleanup(func() { stack.Remove(t, service) })
		if err != nil || applied.Code != 0 {
			t.Fatalf("apply what was converted from a %s: %v, %v\n%s", name, applied, err, hcl)
		}
		got, err := stack.Agent.Get(t.Context(), service, "/")
		if err != nil || got.Status != http.StatusOK || !strings.Contains(got.Body, service+"-00001") {
			t.Errorf("%s answers %+v, %v", service, got, err)
		}
	}
}

// The job that a revision leaves behind runs, and answers at a port of its own, without a
// sidecar and with nothing that Wadi made.
func TestLeaving_PlainJobRunsWithoutWadi(t *testing.T) {
	t.Parallel()
	_, err := stack.Agent.Submit(t.Context(), hello("leaving", options{env: map[string]string{"ADDR": "0.0.0.0"}})) // Callers come directly.
	harnesstest.Must(t, "submit", err)
	harnesstest.Must(t, "wait until it is ready", stack.Agent.WaitReady(t.Context(), "leaving", 1))
	res, err := stack.Agent.Wadi(t.Context(), t.TempDir(), "revision", "job", "leaving-00001")
	if err != nil || res.Code != 0 {
		t.Fatalf("print the job: %v, %v", res, err)
	}
	var printed struct{ Job *nomad.Job }
	harnesstest.Must(t, "decode the job", json.Unmarshal([]byte(res.Stdout), &printed))
	job := printed.Job
	if job == nil || *job.ID != "leaving" || len(job.TaskGroups) != 1 || len(job.TaskGroups[0].Tasks) != 1 {
		t.Fatalf("printed is %s", res.Stdout)
	}
	if strings.Contains(res.Stdout, "WADI_") || strings.Contains(res.Stdout, "queue-proxy") {
		t.Errorf("something of Wadi is in it: %s", res.Stdout)
	}
	_, _, err = stack.Nomad.Jobs().Register(job, nil)
	harnesstest.Must(t, "register the job", err)
	t.Cleanup(func() {
		_, _, err := stack.Nomad.Jobs().Deregister(*job.ID, true, nil)
		harnesstest.Must(t, "stop the job", err)
	})
	// Once the service is gone, too.
	harnesstest.Must(t, "delete the service", stack.Agent.Delete(t.Context(), "leaving"))
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		address, err := portOf(t, *job.ID)
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/", nil)
		if err != nil {
			return err
		}
		got, err := harness.Do(http.DefaultClient, req)
		if err == nil && got.Status != http.StatusOK {
			err = fmt.Errorf("%s answers %+v", address, got)
		}
		return err
	})
}

// portOf is the address of the only port of a job's only running instance.
func portOf(t *testing.T, job string) (string, error) {
	t.Helper()
	allocs, _, err := stack.Nomad.Jobs().Allocations(job, false, nil)
	if err != nil {
		return "", err
	}
	for _, stub := range allocs {
		alloc, _, err := stack.Nomad.Allocations().Info(stub.ID, nil)
		if err != nil || stub.ClientStatus != "running" {
			continue
		}
		for _, p := range alloc.AllocatedResources.Shared.Ports {
			return net.JoinHostPort(p.HostIP, strconv.Itoa(p.Value)), nil
		}
	}
	return "", fmt.Errorf("no instance of %s runs with a port", job)
}

// quietFor is how long an idle agent is watched: longer than its slowest loops take, which
// read everything back every 30 s.
const quietFor = 32 * time.Second

// An agent with services at which nothing changes writes no line above debug: neither for
// one at zero, nor for one with an instance, nor for one in the mesh.
func TestLogs_QuietWhenNothingChanges(t *testing.T) {
	stack.Deploy(t, hello("quiet-zero", options{})+hello("quiet-warm", options{min: 1}))
	if stack.Cluster.Bridge {
		stack.Deploy(t, hello("quiet-mesh", options{mesh: true}))
		stack.ToZero(t, "quiet-mesh-00001")
	}
	stack.ToZero(t, "quiet-zero-00001")
	loud := func() int {
		n := 0
		for line := range strings.Lines(stack.Agent.Tail(1_000_000)) {
			if strings.Contains(line, "[INFO]") || strings.Contains(line, "[WARN]") || strings.Contains(line, "[ERROR]") {
				n++
			}
		}
		return n
	}
	// What was decided before is done: no line for a while.
	last, since := loud(), time.Now()
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		if n := loud(); n != last {
			last, since = n, time.Now()
		}
		if time.Since(since) < 5*time.Second {
			return fmt.Errorf("the agent still logs:\n%s", stack.Agent.Tail(5))
		}
		return nil
	})
	time.Sleep(quietFor)
	if n := loud(); n != last {
		t.Errorf("%d lines above debug while nothing changed:\n%s", n-last, stack.LogOf("[", 40))
	}
}
