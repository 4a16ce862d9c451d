//go:build e2e

package dataplane_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// TestScaleDown: instances that are scaled down under load lose no request.
func TestScaleDown(t *testing.T) {
	t.Parallel()
	for _, way := range ways() {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			name := way.service("fewer")
			up(t, name, options{mesh: way.mesh, scale: "initial = 0\n    max = 3\n    window = \"60s\"\n    dry_run = true"}) // Nobody else scales it.
			stack.ScaleByHand(t, revision(name), 3)
			running(t, name, 3)
			h1 := harnesstest.StartWorkers(t, 8, 0, at(t, stack.Agent, name, "/sleep?for=20ms"))
			bodies := harnesstest.StartWorkers(t, 2, 0, uploads(t, name))
			h2 := harnesstest.StartWorkers(t, 8, 0, harnesstest.Getting(stack.H2Client(t), harnesstest.URL(name, "/sleep?for=20ms")))
			for _, n := range []int{1, 3, 1} {
				h1.Wait(t, 50)
				stack.ScaleByHand(t, revision(name), n)
				running(t, name, n)
			}
			h1.WantAll(t, 40)
			h2.WantAll(t, 40)
			bodies.WantAll(t, 5)
		})
	}
}

// uploads sends bodies, which must not be sent twice.
func uploads(t *testing.T, name string) harnesstest.Send {
	c := stack.Client(t)
	return func(ctx context.Context) (string, error) {
		body := strings.NewReader(strings.Repeat("x", 100000))
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, harnesstest.URL(name, "/count"), struct{ *strings.Reader }{body})
		if err != nil {
			return "", err
		}
		return harnesstest.Answer(harness.Do(c, req))
	}
}

// running waits until exactly so many instances run.
func running(t *testing.T, name string, n int) {
	t.Helper()
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		up, err := stack.Running(t.Context(), revision(name))
		live, err2 := stack.Allocs(t.Context(), revision(name))
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		if up != n || len(live) != n {
			return fmt.Errorf("%d run of %d, want %d", up, len(live), n)
		}
		return nil
	})
}

// TestAgentStops: an agent that stops answers its requests in flight, and accepts new ones
// until it closes its listener.
func TestAgentStops(t *testing.T) {
	t.Parallel()
	const name, long = "leaving", 16
	a := startAgent(t, "wadi-leaving", "")
	up(t, name, options{scale: fixed(2)})
	known(t, a, name)
	kept := harnesstest.StartWorkers(t, 8, time.Millisecond, until(a, at(t, a, name, "/sleep?for=30ms")))
	once := harnesstest.StartWorkers(t, 4, time.Millisecond, until(a, func(ctx context.Context) (string, error) {
		return harnesstest.Answer(a.Get(ctx, name, "/sleep?for=30ms"))
	}))
	kept.Wait(t, 100)
	before := pending(t, a)
	var all sync.WaitGroup
	for range long {
		send := at(t, a, name, "/sleep?for=3s")
		all.Go(func() {
			if _, err := send(t.Context()); err != nil {
				t.Errorf("a request that was in flight: %v", err)
			}
		})
	}
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		if n := pending(t, a); n < before+long-8 {
			return fmt.Errorf("%d requests are held", n)
		}
		return nil
	})
	must(t, "stop the agent", a.Stop(t.Context()))
	all.Wait()
	kept.WantAll(t, 20)
	once.WantAll(t, 10)
}

// until sends as long as the agent listens. The kernel resets connections in the
// listener's queue at the moment of its closing: no request was accepted on them.
func until(a *harness.Agent, send harnesstest.Send) harnesstest.Send {
	return func(ctx context.Context) (string, error) {
		text, err := send(ctx)
		if err != nil {
			c, dial := net.Dial("tcp", a.Gateway)
			if dial != nil {
				return "the agent is gone", nil
			}
			err = errors.Join(err, c.Close())
		}
		return text, err
	}
}

// TestInstanceDies: repeatable requests survive the death of a queue-proxy: they go to the
// other instance, or wait until the only one is back.
func TestInstanceDies(t *testing.T) {
	t.Parallel()
	for _, way := range ways() {
		for _, instances := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s, %d", way.name, instances), func(t *testing.T) {
				t.Parallel()
				name := fmt.Sprintf("%s-%d", way.service("dying"), instances)
				up(t, name, options{mesh: way.mesh, scale: fixed(instances)})
				running(t, name, instances)
				load := harnesstest.StartWorkers(t, 8, 0, at(t, stack.Agent, name, "/sleep?for=20ms"))
				load.Wait(t, 50)
				for range 2 {
					live, err := stack.Allocs(t.Context(), revision(name))
					must(t, "list instances", err)
					killProxy(t, live[0].ID)
					load.Wait(t, 100)
				}
				load.WantAll(t, 100)
			})
		}
	}
}

// killProxy kills the queue-proxy of an instance, and waits until Nomad has restarted it.
func killProxy(t *testing.T, alloc string) {
	t.Helper()
	pid, err := processOf("queue-proxy", alloc)
	must(t, "find a queue-proxy", err)
	must(t, "kill it", syscall.Kill(pid, syscall.SIGKILL))
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		again, err := processOf("queue-proxy", alloc)
		if err == nil && again == pid {
			err = errors.New("it is the same process")
		}
		return err
	})
}

// TestInstancesRestart: the tasks of all instances restart at once, as after a change of a
// template. Requests wait meanwhile, and no app sees them before it is ready.
func TestInstancesRestart(t *testing.T) {
	t.Parallel()
	for _, way := range ways() {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			name := way.service("again")
			up(t, name, options{mesh: way.mesh, command: "hello", scale: fixed(2)})
			running(t, name, 2)
			load := harnesstest.StartWorkers(t, 8, 0, at(t, stack.Agent, name, "/?sleep=20ms"))
			tasks := []string{"app", "", "app", ""} // Empty: all.
			if way.mesh {
				// A stopped Envoy breaks off its requests. A request that two Envoys have
				// broken off fails: its app may have seen it twice.
				tasks = []string{"app", "app", "app"}
			}
			for _, task := range tasks {
				load.Wait(t, 100)
				var wg sync.WaitGroup
				for _, instance := range allocsOf(t, name) {
					wg.Go(func() { restart(t, instance, task) })
				}
				wg.Wait()
			}
			load.Wait(t, 100)
			load.WantAll(t, 100)
		})
	}
}

// allocsOf lists the instances of a service.
func allocsOf(t *testing.T, name string) []*nomad.Allocation {
	t.Helper()
	live, err := stack.Allocs(t.Context(), revision(name))
	must(t, "list instances", err)
	all := make([]*nomad.Allocation, len(live))
	for i, stub := range live {
		all[i], _, err = stack.Nomad.Allocations().Info(stub.ID, nil)
		must(t, "read an instance", err)
	}
	return all
}

// restart restarts a task of an instance; empty: all of its tasks.
func restart(t *testing.T, instance *nomad.Allocation, task string) {
	t.Helper()
	err := stack.Nomad.Allocations().Restart(instance, task, nil)
	if task == "" {
		err = stack.Nomad.Allocations().RestartAllTasks(instance, nil)
	}
	if err != nil {
		t.Errorf("restart task %q of %s: %v", task, instance.ID, err)
	}
}

var processMu sync.Mutex // Reading all of /proc is not cheap.

// processOf finds the process of a program in an allocation.
func processOf(program, alloc string) (int, error) {
	processMu.Lock()
	defer processMu.Unlock()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	for _, dir := range dirs {
		exe, err := os.Readlink(dir + "/exe")
		if err != nil || filepath.Base(exe) != program {
			continue
		}
		env, err := os.ReadFile(dir + "/environ")
		if err == nil && strings.Contains("\x00"+string(env), "\x00NOMAD_ALLOC_ID="+alloc+"\x00") {
			return strconv.Atoi(filepath.Base(dir))
		}
	}
	return 0, fmt.Errorf("no %s of %s", program, alloc)
}
