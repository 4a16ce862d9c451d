//go:build e2e

package mesh_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/test/harness"
)

// Envoy and the queue-proxy of an instance are killed: while requests wait for it, and
// while it serves. Waiting requests are answered; requests in flight fail, and later ones
// are answered when the task is back.
func TestKilled(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ service, task, program, message string }{
		{"no-envoy", "connect-proxy-no-envoy", "envoy", "the Envoy (task connect-proxy-no-envoy) was killed by signal 9"},
		{"no-proxy", "queue-proxy", "queue-proxy", "Wadi's queue-proxy was killed by signal 9"},
	} {
		t.Run(tt.program, func(t *testing.T) {
			t.Parallel()
			deploy(t, hello(tt.service, options{env: map[string]string{"START_DELAY": "4s"}}))
			revision := tt.service + "-00001"

			waiting := make(chan harness.Response, 1)
			var failed error
			go func() {
				var res harness.Response
				res, failed = callerA.Send(t, http.MethodGet, tt.service, "/", nil, nil)
				waiting <- res
			}()
			alloc, pid := waitProcess(t, revision, tt.program)
			must(t, "kill "+tt.program, syscall.Kill(pid, syscall.SIGKILL))
			res := <-waiting
			must(t, "a request that waited", failed)
			wantFrom(t, res, revision)
			waitRestarted(t, alloc, tt.task, 1)
			waitDirect(t, callerA, tt.service)

			l := startLoad(t, callerA, tt.service, "/", 40*time.Millisecond, either(200, 502, 503))
			l.Wait(t, 50)
			_, pid = waitProcess(t, revision, tt.program)
			must(t, "kill "+tt.program, syscall.Kill(pid, syscall.SIGKILL))
			waitRestarted(t, alloc, tt.task, 2)
			waitDirect(t, callerA, tt.service)
			l.Stop()
			for _, f := range l.Failed() {
				if !strings.Contains(f, "unexpected EOF") { // An answer had begun.
					t.Errorf("a call that no instance had in hand: %s", f)
				}
			}
			t.Log("meanwhile: ", l)
			wantUnsteady(t, tt.service, tt.message)

			l = startLoad(t, callerA, tt.service, "/", 40*time.Millisecond, from(revision))
			l.Wait(t, 100)
			l.WantAll(t, 20)
		})
	}
}

// wantUnsteady expects the status to say what was killed, and how often.
func wantUnsteady(t *testing.T, service, message string) {
	t.Helper()
	must(t, "wait for its condition", stack.Agent.WaitCondition(t.Context(), service, waitLong, "that "+message+", 2 times", func(c wadi.Condition) bool {
		return c.Type == control.ConditionSteady && strings.Contains(c.Message, message) && strings.Contains(c.Message, ", 2 times, ")
	}))
}

// waitProcess waits until a program runs in the only instance of a revision.
func waitProcess(t *testing.T, revision, program string) (alloc string, pid int) {
	t.Helper()
	eventually(t, waitLong, func() error {
		allocs, err := stack.Allocs(t.Context(), revision)
		if err != nil {
			return err
		}
		if len(allocs) != 1 {
			return fmt.Errorf("%s has %d allocations", revision, len(allocs))
		}
		alloc = allocs[0].ID
		pid, err = processOf(alloc, program)
		return err
	})
	return alloc, pid
}

// processOf finds a running program of an allocation.
func processOf(alloc, program string) (int, error) {
	comms, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return 0, err
	}
	for _, file := range comms {
		if comm, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(comm)) != program {
			continue
		}
		env, err := os.ReadFile(filepath.Join(filepath.Dir(file), "environ"))
		if err == nil && bytes.Contains(env, []byte("NOMAD_ALLOC_ID="+alloc+"\x00")) {
			return strconv.Atoi(filepath.Base(filepath.Dir(file)))
		}
	}
	return 0, fmt.Errorf("no %s in allocation %s", program, alloc)
}

// waitRestarted waits until Nomad has restarted a task so often, and all tasks run.
func waitRestarted(t *testing.T, alloc, task string, times uint64) {
	t.Helper()
	err := harness.Eventually(t.Context(), waitLong, func() error {
		a, _, err := stack.Nomad.Allocations().Info(alloc, (&nomad.QueryOptions{}).WithContext(context.WithoutCancel(t.Context())))
		if err != nil {
			return err
		}
		st := a.TaskStates[task]
		if st == nil || st.Restarts < times || st.State != "running" {
			return fmt.Errorf("task %s: %+v", task, st)
		}
		if a.ClientStatus != "running" {
			return harness.Final(errors.New("the allocation is " + a.ClientStatus))
		}
		return nil
	})
	if err != nil {
		t.Fatalf("restart: %v", err)
	}
}
