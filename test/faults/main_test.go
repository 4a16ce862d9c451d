//go:build e2e

// Package faults_test breaks what the other end-to-end tests rely on: agents, Consul,
// Nomad, the disk. Its tests run one after another on a stack of their own, and each
// restores the stack.
package faults_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/internal/devcluster"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// stack is shared by all tests.
var stack *harnesstest.Stack

func TestMain(m *testing.M) { harnesstest.Main(m, &stack, harnesstest.Options{}) }

// wantAnswer sends a request through an agent's gateway, and fails the test unless the
// answer is good.
func wantAnswer(t *testing.T, a *harness.Agent, service, path string) harness.Response {
	t.Helper()
	res, err := a.Get(t.Context(), service, path)
	if err != nil {
		t.Fatalf("get %s%s from %s: %v", service, path, a.Name, err)
	}
	if res.Status != http.StatusOK {
		t.Fatalf("get %s%s from %s: got status %d after %v, want 200:\n%s\nlog:\n%s",
			service, path, a.Name, res.Status, res.Took, res.Body, a.Tail(40))
	}
	return res
}

// eventually waits until try returns nil, and fails the test if it does not in time.
func eventually(t *testing.T, within time.Duration, try func() error) {
	t.Helper()
	if err := harness.Eventually(t.Context(), within, try); err != nil {
		t.Fatalf("%v\nlog:\n%s", err, stack.Agent.Tail(60))
	}
}

// jobState is what must not change in a job by itself.
type jobState struct {
	Created, Modified, Version uint64
	Count                      int
	Allocs                     map[string]bool
}

// jobs are the states of revisions' jobs.
func jobs(t *testing.T, revisions ...string) map[string]jobState {
	t.Helper()
	out := map[string]jobState{}
	for _, r := range revisions {
		job, _, err := stack.Nomad.Jobs().Info(r, (&nomad.QueryOptions{}).WithContext(t.Context()))
		harnesstest.Must(t, "read job "+r, err)
		allocs, err := stack.Allocs(t.Context(), r)
		harnesstest.Must(t, "list allocations of "+r, err)
		s := jobState{
			Created: *job.CreateIndex, Modified: *job.JobModifyIndex, Version: *job.Version,
			Count: *job.TaskGroups[0].Count, Allocs: map[string]bool{},
		}
		for _, a := range allocs {
			s.Allocs[a.ID] = true
		}
		out[r] = s
	}
	return out
}

// wantSame fails the test if jobs have changed.
func wantSame(t *testing.T, before map[string]jobState, when string) {
	t.Helper()
	var names []string
	for r := range before {
		names = append(names, r)
	}
	if diff := cmp.Diff(before, jobs(t, names...)); diff != "" {
		t.Errorf("%s jobs changed (-before +after):\n%s\nlog:\n%s", when, diff, stack.Agent.Tail(60))
	}
}

// drive sends requests, each worker one after another, until the load is stopped.
func drive(t *testing.T, workers int, every time.Duration, send func(context.Context) error) *harnesstest.Load {
	t.Helper()
	return harnesstest.StartWorkers(t, workers, every, func(ctx context.Context) (string, error) { return "good", send(ctx) })
}

// through sends a request through an agent's gateway.
func through(a *harness.Agent, service, path string) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, harnesstest.WaitLong)
		defer cancel()
		res, err := a.Get(ctx, service, path)
		if err == nil && res.Status != http.StatusOK {
			err = fmt.Errorf("status %d: %s", res.Status, res.Body)
		}
		return err
	}
}

// outsider runs a mesh caller that Wadi does not manage, and returns a function that lets
// it call the service.
func outsider(t *testing.T, service string) func(context.Context) error {
	t.Helper()
	if !stack.Cluster.Bridge {
		t.Skip("no mesh on this machine: " + stack.Cluster.WhyNot)
	}
	name := "outsider-" + service
	job, err := stack.Nomad.Jobs().ParseHCL(fmt.Sprintf(outsiderJob, name, service), true)
	harnesstest.Must(t, "parse the caller's job", err)
	_, _, err = stack.Nomad.Jobs().Register(job, (&nomad.WriteOptions{}).WithContext(t.Context()))
	harnesstest.Must(t, "run the caller", err)
	t.Cleanup(func() {
		_, _, err := stack.Nomad.Jobs().Deregister(name, true, nil)
		harnesstest.Must(t, "remove the caller", err)
	})
	var base string
	eventually(t, harnesstest.WaitLong, func() error {
		allocs, err := stack.Allocs(t.Context(), name)
		if err != nil || len(allocs) == 0 {
			return errors.Join(err, errors.New("the caller is not placed"))
		}
		full, _, err := stack.Nomad.Allocations().Info(allocs[0].ID, (&nomad.QueryOptions{}).WithContext(t.Context()))
		if err != nil {
			return err
		}
		for _, p := range full.AllocatedResources.Shared.Ports {
			if p.Label == "http" {
				base = fmt.Sprintf("http://%s:%d", p.HostIP, p.Value)
			}
		}
		return nil
	})
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}, Timeout: harnesstest.WaitLong}
	t.Cleanup(client.CloseIdleConnections)
	call := func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/call/", nil)
		if err != nil {
			return err
		}
		res, err := harness.Do(client, req)
		if err == nil && res.Status != http.StatusOK {
			err = fmt.Errorf("status %d: %s", res.Status, res.Body)
		}
		return err
	}
	eventually(t, harnesstest.WaitLong, func() error { return call(t.Context()) })
	return call
}

const outsiderJob = `
job %q {
  group "g" {
    network {
      mode = "bridge"
      port "http" {
        to = 8080
      }
    }
    service {
      name = "outsider"
      port = "8080"
      connect {
        sidecar_service {
          disable_default_tcp_check = true
          proxy {
            upstreams {
              destination_name = %q
              local_bind_port  = 9191
            }
          }
        }
        sidecar_task {
` + devcluster.EnvoyTask + `          resources {
            cpu    = 20
            memory = 64
          }
        }
      }
    }
    task "app" {
      driver = "raw_exec"
      config {
        command = "hello"
      }
      env {
        ADDR     = "0.0.0.0" # It is called past Envoy, from outside.
        UPSTREAM = "http://127.0.0.1:9191"
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}
`

// wadi runs the command line against the first agent, in a folder with the files.
func wadi(t *testing.T, files map[string]string, args ...string) harness.Result {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		harnesstest.Must(t, "write file", os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	ran, err := stack.Agent.Wadi(t.Context(), dir, args...)
	harnesstest.Must(t, "run wadi", err)
	return ran
}
