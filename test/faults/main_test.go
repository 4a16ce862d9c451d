//go:build e2e

// Package faults_test breaks what the other end-to-end tests stand on: agents,
// Consul, Nomad, the disk. Its tests run one after another on a stack of their
// own, and each leaves the stack as it found it.
package faults_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/test/harness"
)

// stack is the one that all tests share.
var stack *harness.Stack

func TestMain(m *testing.M) {
	bin := flag.String("bin", "", "folder of the binaries, else bin/ of the checkout")
	flag.Parse()
	os.Exit(run(m, *bin))
}

func run(m *testing.M, bin string) int {
	ctx := context.Background()
	var err error
	if stack, err = harness.Start(ctx, harness.Options{Bin: bin}); err != nil {
		fmt.Fprintln(os.Stderr, "start stack:", err)
		return 1
	}
	code := m.Run()
	stop, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := stack.Stop(stop); err != nil {
		fmt.Fprintln(os.Stderr, "stop stack:", err)
		return 1
	}
	return code
}

// hello renders a service of the example app, in the host's network and without the
// mesh. scale is the inside of its scale block, more stands beside that.
func hello(name, scale, more string) string {
	return fmt.Sprintf(`service %q {
  network = "host"
  mesh    = "off"
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
  probe {
    http = "/healthz"
  }
  scale {
    %s
  }
  %s
}
`, name, scale, more)
}

// meshed is hello in the mesh.
func meshed(name, scale string) string {
	s := strings.Replace(hello(name, scale, ""), `"host"`, `"bridge"`, 1)
	return strings.Replace(s, `"off"`, `"envoy"`, 1)
}

// deploy applies services through the first agent, waits until they are ready, and
// deletes them at the end.
func deploy(t *testing.T, hcl string) {
	t.Helper()
	sub, err := stack.Agent.Submit(t.Context(), hcl)
	if err != nil {
		t.Fatalf("submit: %v\n%s", err, hcl)
	}
	t.Cleanup(func() {
		var wg sync.WaitGroup
		defer wg.Wait()
		for _, s := range sub.Services {
			wg.Go(func() { remove(t, s.Name) })
		}
	})
	for _, s := range sub.Services {
		if err := stack.Agent.WaitReady(t.Context(), s.Name, s.Generation); err != nil {
			t.Fatalf("deploy %s: %v\n%s", s.Name, err, stack.Agent.Tail(60))
		}
	}
}

func remove(t *testing.T, name string) {
	if t.Failed() {
		t.Logf("the agent's log:\n%s", stack.Agent.Tail(60))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	if err := stack.Agent.Delete(ctx, name); err != nil {
		t.Errorf("delete %s: %v\n%s", name, err, stack.Agent.Tail(40))
	}
}

// wantAnswer asks a service through an agent's gateway, and fails the test if that
// is not answered well.
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

// toZero waits until no instance of the revision is left.
func toZero(t *testing.T, revision string) {
	t.Helper()
	err := stack.WaitCount(t.Context(), revision, 60*time.Second, func(n int) bool { return n == 0 })
	if err == nil {
		err = stack.WaitGone(t.Context(), revision, 60*time.Second)
	}
	if err != nil {
		t.Fatalf("to zero: %v", err)
	}
}

// must fails the test on an error.
func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// eventually waits until try is nil, and fails the test if it does not become so.
func eventually(t *testing.T, within time.Duration, try func() error) {
	t.Helper()
	if err := harness.Eventually(t.Context(), within, try); err != nil {
		t.Fatalf("%v\nlog:\n%s", err, stack.Agent.Tail(60))
	}
}

// jobState is all of a job that must not change by itself.
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
		must(t, "read job "+r, err)
		allocs, err := stack.Allocs(t.Context(), r)
		must(t, "list allocations of "+r, err)
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

// wantSame fails the test if jobs are not as they were.
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

// load are requests without a break.
type load struct {
	stop   context.CancelFunc
	wg     sync.WaitGroup
	sent   atomic.Int64
	mu     sync.Mutex // Guards the following.
	failed []string
}

// drive sends requests, each worker one after another, until the load is stopped.
func drive(t *testing.T, workers int, pause time.Duration, send func(context.Context) error) *load {
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{stop: cancel}
	for range workers {
		l.wg.Go(func() {
			tick := time.NewTicker(pause)
			defer tick.Stop()
			for ctx.Err() == nil {
				begin := time.Now()
				// One that is on its way when the load is stopped is finished.
				err := send(context.WithoutCancel(ctx))
				l.sent.Add(1)
				if err != nil {
					l.mu.Lock()
					l.failed = append(l.failed, fmt.Sprintf("%s (%v): %v", begin.Format("15:04:05.000"), time.Since(begin), err))
					l.mu.Unlock()
				}
				select {
				case <-ctx.Done():
				case <-tick.C:
				}
			}
		})
	}
	t.Cleanup(func() { l.end() })
	return l
}

// end stops the load and returns what failed of it.
func (l *load) end() []string {
	l.stop()
	l.wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// wantAll fails the test if a request failed, or hardly any was sent.
func (l *load) wantAll(t *testing.T, what string, least int64) {
	t.Helper()
	failed := l.end()
	if n := l.sent.Load(); n < least {
		t.Errorf("%s: got %d requests sent, want at least %d", what, n, least)
	}
	if len(failed) > 0 {
		t.Errorf("%s: got %d of %d requests failed, want none:\n%s", what, len(failed), l.sent.Load(),
			strings.Join(failed[:min(len(failed), 10)], "\n"))
	}
}

// through asks a service through an agent's gateway.
func through(a *harness.Agent, service, path string) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		res, err := a.Get(ctx, service, path)
		if err == nil && res.Status != http.StatusOK {
			err = fmt.Errorf("status %d: %s", res.Status, res.Body)
		}
		return err
	}
}

// outsider runs a caller in the mesh that Wadi knows nothing of, and returns how to
// have it call the service.
func outsider(t *testing.T, service string) func(context.Context) error {
	t.Helper()
	if !stack.Cluster.Bridge {
		t.Skip("no mesh on this machine: " + stack.Cluster.WhyNot)
	}
	name := "outsider-" + service
	job, err := stack.Nomad.Jobs().ParseHCL(fmt.Sprintf(outsiderJob, name, service), true)
	must(t, "parse the caller's job", err)
	_, _, err = stack.Nomad.Jobs().Register(job, (&nomad.WriteOptions{}).WithContext(t.Context()))
	must(t, "run the caller", err)
	t.Cleanup(func() {
		_, _, err := stack.Nomad.Jobs().Deregister(name, true, nil)
		must(t, "remove the caller", err)
	})
	var base string
	eventually(t, 60*time.Second, func() error {
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
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}, Timeout: 30 * time.Second}
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
	eventually(t, 60*time.Second, func() error { return call(t.Context()) })
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
          driver = "raw_exec"
          config {
            command = "/bin/sh"
            args    = ["-c", "ln -sfn ../alloc alloc; exec envoy -c $NOMAD_SECRETS_DIR/envoy_bootstrap.json -l warning --concurrency 1 --disable-hot-restart"]
          }
          resources {
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
func wadi(t *testing.T, files map[string]string, args ...string) harness.Ran {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		must(t, "write file", os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	ran, err := stack.Agent.Wadi(t.Context(), dir, args...)
	must(t, "run wadi", err)
	return ran
}
