//go:build e2e

package docker_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/internal/devcluster"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// TestNonRoot runs an image as its makers mean it: as nobody, on its own fixed port, on all
// addresses, without PORT.
func TestNonRoot(t *testing.T) {
	t.Parallel()
	deploy(t, service{name: "nonroot", image: "fixed"})
	if got := ask(t, "nonroot", "/ids"); !strings.HasPrefix(got, "65534 65534 ") {
		t.Errorf("it runs as %q", got)
	}
	expect(t, "nonroot", "/env?name=FROM_IMAGE", "yes")
	expect(t, "nonroot", "/env?name=PORT", "8080")
}

// TestArguments: the port reaches an app by its arguments, whether the entrypoint is the
// image's or the task's.
func TestArguments(t *testing.T) {
	t.Parallel()
	for _, s := range []service{
		{name: "args-bridge", image: "args", config: `args = ["-listen", "127.0.0.1:${PORT}", "${WADI_SERVICE}"]`},
		{name: "args-host", network: "host", config: `args = ["-listen", "127.0.0.1:${PORT}", "${WADI_SERVICE}"]`},
		{name: "entrypoint", config: "entrypoint = [\"/inside\", \"-listen\", \"127.0.0.1:${PORT}\"]\n        args = [\"${WADI_SERVICE}\"]"},
		{name: "command", config: "command = \"-listen\"\n        args = [\"127.0.0.1:${PORT}\", \"${WADI_SERVICE}\"]"},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			deploy(t, s)
			got := strings.Fields(ask(t, s.name, "/args"))
			if len(got) < 3 || got[len(got)-1] != s.name || strings.Contains(got[len(got)-2], "$") {
				t.Errorf("arguments %q", got)
			}
		})
	}
}

// TestPorts reaches a further port of a container directly, past the queue-proxy.
func TestPorts(t *testing.T) {
	t.Parallel()
	deploy(t, service{
		name: "ported", config: `args = ["-also", "0.0.0.0:${NOMAD_PORT_admin}"]`,
		group: "network {\n  port \"admin\" {\n    to = 9000\n  }\n}\n",
	})
	allocs, err := stack.Allocs(t.Context(), "ported-00001")
	if err != nil || len(allocs) != 1 {
		t.Fatalf("%d instances: %v", len(allocs), err)
	}
	alloc, _, err := stack.Nomad.Allocations().Info(allocs[0].ID, nil)
	harnesstest.Must(t, "read the allocation", err)
	for _, p := range alloc.AllocatedResources.Shared.Ports {
		if p.Label != "admin" {
			continue
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+net.JoinHostPort(devcluster.HostIP(), fmt.Sprint(p.Value))+"/", nil)
		harnesstest.Must(t, "make a request", err)
		res, err := harness.Do(http.DefaultClient, req)
		if err != nil || res.Body != "inside\n" {
			t.Errorf("got %+v (%v)", res, err)
		}
		return
	}
	t.Error("the allocation has no port admin")
}

// TestExtraHosts: the app's entries are in the instance's hosts file, though a sidecar starts
// first.
func TestExtraHosts(t *testing.T) {
	t.Parallel()
	for _, s := range []service{{name: "hosts-host", network: "host"}, {name: "hosts-bridge"}, {name: "hosts-mesh", mesh: "envoy"}} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.config = `extra_hosts = ["db.internal:10.1.2.3"]`
			deploy(t, s)
			expect(t, s.name, "/lookup?host=db.internal", "10.1.2.3")
		})
	}
}

// TestChildren: an app that is process 1 and reaps nobody keeps its orphans as zombies; with
// Docker's init they are reaped. Either way none outlives the instance.
func TestChildren(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		service
		state string
	}{{service{name: "first"}, "Z"}, {service{name: "init", config: "init = true"}, ""}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.more = "scale {\n    max = 1\n  }\n"
			deploy(t, tt.service)
			short, long := ask(t, tt.name, "/orphan?for=1ms"), ask(t, tt.name, "/orphan?for=1h")
			harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
				all := ask(t, tt.name, "/processes")
				if got := stateOf(all, short); got != tt.state {
					return fmt.Errorf("the orphan that has ended is in state %q, want %q:\n%s", got, tt.state, all)
				}
				return nil
			})
			if all := ask(t, tt.name, "/processes"); stateOf(all, long) == "" {
				t.Errorf("the orphan %s that runs is not there:\n%s", long, all)
			}
			id := container(t, tt.name+"-00001", "web")
			_, err := stack.Agent.Client.Override(t.Context(), tt.name, tt.name+"-00001", 0, time.Hour)
			harnesstest.Must(t, "set it to zero", err)
			harnesstest.Eventually(t, harnesstest.WaitLong, func() error { return gone(t, id) })
		})
	}
}

// stateOf finds a process in the answer of /processes; its parent must be process 1.
func stateOf(processes, pid string) string {
	for line := range strings.Lines(processes) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == pid && f[1] == "1" {
			return f[2]
		}
	}
	return ""
}

// TestLimit: no more requests are in a container than concurrency.limit says, and all are
// answered.
func TestLimit(t *testing.T) {
	t.Parallel()
	deploy(t, service{name: "limited", image: "hello", more: "concurrency {\n    limit = 1\n  }\n  scale {\n    min = 1\n    max = 1\n  }\n"})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			res, err := stack.Agent.Get(t.Context(), "limited", "/?exclusive=1&sleep=20ms")
			if err != nil || res.Status != http.StatusOK {
				t.Errorf("got %+v (%v)", res, err)
			}
		})
	}
	wg.Wait()
}

// TestDrain ends an instance whose app ignores SIGTERM while a request runs: the request is
// answered, and the app is killed when its kill_timeout is over.
func TestDrain(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(alloc *nomad.AllocationListStub) error{
		"drain-wadi": func(*nomad.AllocationListStub) error {
			_, err := stack.Agent.Client.Override(t.Context(), "drain-wadi", "drain-wadi-00001", 0, time.Hour)
			return err
		},
		"drain-nomad": func(a *nomad.AllocationListStub) error {
			_, err := stack.Nomad.Allocations().Stop(&nomad.Allocation{ID: a.ID}, nil)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			deploy(t, service{
				name: name, task: "kill_timeout = \"3s\"\n      env {\n        IGNORE_SIGTERM = \"1\"\n      }\n",
				more: "scale {\n    max = 1\n  }\n",
			})
			allocs, err := stack.Allocs(t.Context(), name+"-00001")
			if err != nil || len(allocs) != 1 {
				t.Fatalf("%d instances: %v", len(allocs), err)
			}
			id := container(t, name+"-00001", "web")
			answer := make(chan error, 1)
			go func() {
				res, err := stack.Agent.Get(context.WithoutCancel(t.Context()), name, "/sleep?for=5s")
				if err == nil && (res.Status != http.StatusOK || res.Body != "slept") {
					err = fmt.Errorf("got %d %q", res.Status, res.Body)
				}
				answer <- err
			}()
			harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
				if n := ask(t, name, "/sleeping"); n != "1" {
					return fmt.Errorf("%s requests are in the app", n)
				}
				return nil
			})
			harnesstest.Must(t, "end it", end(allocs[0]))
			if err := <-answer; err != nil {
				t.Errorf("the request in flight: %v", err)
			}
			harnesstest.Eventually(t, harnesstest.WaitLong, func() error { return gone(t, id) })
			harnesstest.Eventually(t, harnesstest.WaitLong, func() error { return killed(t, allocs[0].ID) })
		})
	}
}

// gone returns nil when the engine has no such container.
func gone(t *testing.T, id string) error {
	out, err := engine.Docker(t.Context(), "ps", "-aq", "--no-trunc", "--filter", "id="+id)
	if err == nil && out != "" {
		err = fmt.Errorf("container %s is left", id)
	}
	return err
}

// killed returns nil when the app of an instance was ended by SIGKILL.
func killed(t *testing.T, alloc string) error {
	a, _, err := stack.Nomad.Allocations().Info(alloc, (&nomad.QueryOptions{}).WithContext(t.Context()))
	if err != nil {
		return err
	}
	for _, e := range a.TaskStates["web"].Events {
		if e.Type == nomad.TaskTerminated && e.ExitCode == 137 {
			return nil
		}
	}
	return fmt.Errorf("task web ended another way: %s", stack.TasksOf(a.JobID))
}

// TestHealthcheck: the engine runs an image's HEALTHCHECK, and finds the container unhealthy;
// Nomad does not ask, so Wadi can't know, and warns. Where it is disabled the engine runs none.
func TestHealthcheck(t *testing.T) {
	t.Parallel()
	warning := fmt.Sprintf("image of task web: %q has a HEALTHCHECK, which Docker runs", images["unhealthy"])
	for _, tt := range []struct{ name, config, health, warning string }{
		{"health", "", "unhealthy", warning}, {"health-off", "healthchecks {\n  disable = true\n}\n", "none", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := deploy(t, service{name: tt.name, network: "host", image: "unhealthy", config: tt.config})
			if text := strings.Join(got[0].Warnings, "\n"); !strings.HasPrefix(text, tt.warning) || tt.warning == "" && text != "" {
				t.Errorf("apply warns %q, want %q", text, tt.warning)
			}
			id := container(t, tt.name+"-00001", "web")
			harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
				got, err := engine.Docker(t.Context(), "inspect", "--format", "{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}", id)
				if err == nil && strings.TrimSpace(got) != tt.health {
					err = fmt.Errorf("the engine says %q, want %s", got, tt.health)
				}
				return err
			})
			expect(t, tt.name, "/", "inside\n")
			harnesstest.Must(t, "read the status", stack.Agent.WaitReady(t.Context(), tt.name, 1))
		})
	}
}
