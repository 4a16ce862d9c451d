//go:build e2e

package faults_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// Killing an agent under load loses no state: callers in the mesh do not notice, and after
// its restart everything is as before.
func TestAgentKilled(t *testing.T) {
	stack.Deploy(t, harnesstest.HelloInMesh("inmesh", nil, `
    min    = 1
    window = "6s"`, "")+harnesstest.Hello("steady", `
    min    = 2
    window = "6s"`, "")+harnesstest.Hello("resting", `window = "1h"`, "")+harnesstest.Hello("asleep", `window = "6s"`, ""))
	call := outsider(t, "inmesh")
	stack.ToZero(t, "asleep-00001")
	eventually(t, harnesstest.WaitLong, func() error {
		if n, err := stack.Running(t.Context(), "steady-00001"); err != nil || n != 2 {
			return fmt.Errorf("%d instances run (%v)", n, err)
		}
		return nil
	})
	before := jobs(t, "inmesh-00001", "steady-00001", "resting-00001", "asleep-00001")
	mesh := drive(t, 4, 10*time.Millisecond, call)
	front := drive(t, 4, 10*time.Millisecond, through(stack.Agent, "steady", "/"))
	front.Wait(t, 100)

	harnesstest.Must(t, "kill the agent", stack.Agent.Kill())
	front.Stop() // Requests in flight failed, and later ones.
	pause(t, time.Second)
	harnesstest.Must(t, "start the agent again", stack.Agent.Start(t.Context()))
	harnesstest.Must(t, "wait for it", stack.Agent.WaitLeader(t.Context()))

	back := drive(t, 4, 10*time.Millisecond, through(stack.Agent, "steady", "/"))
	pause(t, 10*time.Second) // Longer than the short window.
	back.WantAll(t, 20)
	mesh.WantAll(t, 200)
	wantSame(t, before, "after the restart")
	for name, want := range map[string]string{"inmesh": "ready", "steady": "ready", "resting": "ready", "asleep": "ready"} {
		eventually(t, harnesstest.WaitLong, func() error {
			s, err := stack.Agent.Client.Service(t.Context(), name)
			if err == nil && (s.Status.Phase != want || s.Generation != 1 || s.Latest != name+"-00001") {
				err = fmt.Errorf("%s after the restart: got phase %s, generation %d, latest %s", name, s.Status.Phase, s.Generation, s.Latest)
			}
			return err
		})
	}
	wantAnswer(t, stack.Agent, "asleep", "/")
	wantAnswer(t, stack.Agent, "resting", "/")
	eventually(t, harnesstest.WaitLong, func() error { return leads(stack.Agent) })
}

// An agent that is killed and restarts before Consul misses it must lead again.
func TestAgentKilled_LeadsAgainAtOnce(t *testing.T) {
	stack.Deploy(t, harnesstest.Hello("again", `window = "6s"`, ""))
	for range 2 {
		harnesstest.Must(t, "kill the agent", stack.Agent.Kill())
		harnesstest.Must(t, "start the agent again", stack.Agent.Start(t.Context()))
		eventually(t, harnesstest.WaitLong, func() error { return leads(stack.Agent) })
	}
	wantAnswer(t, stack.Agent, "again", "/")
	stack.ToZero(t, "again-00001")
}

// leads returns an error if an agent does not lead, by a metric that only the leader has.
func leads(a *harness.Agent) error {
	res, err := http.Get("http://" + a.Metrics + "/metrics")
	if err != nil {
		return err
	}
	body, err := readAll(res)
	if err == nil && !strings.Contains(body, "\nwadi_leader 1\n") {
		err = fmt.Errorf("%s does not lead", a.Name)
	}
	return err
}

// An agent that is stopped finishes its requests, deregisters from Consul, and exits with
// 0.
func TestAgentStops_FinishesRequests(t *testing.T) {
	stack.Deploy(t, harnesstest.Hello("longer", `window = "1h"`, ""))
	wantAnswer(t, stack.Agent, "longer", "/")
	before := jobs(t, "longer-00001")
	type outcome struct {
		res harness.Response
		err error
	}
	flight := make(chan outcome, 1)
	go func() {
		res, err := stack.Agent.Get(context.WithoutCancel(t.Context()), "longer", "/?stream=40&every=100ms")
		flight <- outcome{res, err}
	}()
	pause(t, time.Second)

	harnesstest.Must(t, "tell the agent to stop", stack.Agent.Signal(syscall.SIGINT))
	eventually(t, harnesstest.WaitLong, func() error {
		c, err := net.Dial("tcp", stack.Agent.Gateway)
		if err == nil {
			c.Close()
			return errors.New("the gateway takes connections")
		}
		return nil
	})
	o := <-flight
	if o.err != nil || o.res.Status != http.StatusOK || strings.Count(o.res.Body, "\n") != 40 {
		t.Errorf("the request in flight: got status %d, %d lines, error %v; want 200 and 40 lines",
			o.res.Status, strings.Count(o.res.Body, "\n"), o.err)
	}
	select {
	case <-stack.Agent.Done():
	case <-time.After(harnesstest.WaitLong):
		t.Fatalf("the agent does not end:\n%s", stack.Agent.Tail(30))
	}
	if code := stack.Agent.ExitCode(); code != 0 {
		t.Errorf("got exit code %d, want 0:\n%s", code, stack.Agent.Tail(30))
	}
	wantLeft(t, stack.Agent)
	harnesstest.Must(t, "start the agent again", stack.Agent.Start(t.Context()))
	harnesstest.Must(t, "wait for it", stack.Agent.WaitLeader(t.Context()))
	wantAnswer(t, stack.Agent, "longer", "/")
	wantSame(t, before, "after the restart")
}

// A leader whose session is destroyed steps down, and leads again.
func TestLeadershipLost(t *testing.T) {
	stack.Deploy(t, harnesstest.Hello("reign", `window = "6s"`, ""))
	key, _, err := stack.Consul.KV().Get("wadi/leader", nil)
	if err != nil || key == nil || key.Session == "" {
		t.Fatalf("read the lock: got %+v, error %v; want it held", key, err)
	}
	_, err = stack.Consul.Session().Destroy(key.Session, nil)
	harnesstest.Must(t, "destroy the session", err)
	eventually(t, harnesstest.WaitLong, func() error {
		now, _, err := stack.Consul.KV().Get("wadi/leader", nil)
		if err == nil && (now.Session == "" || now.Session == key.Session) {
			err = errors.New("nobody has the lock")
		}
		return err
	})
	eventually(t, harnesstest.WaitLong, func() error { return leads(stack.Agent) })
	wantAnswer(t, stack.Agent, "reign", "/")
	stack.ToZero(t, "reign-00001")
	stack.Deploy(t, harnesstest.Hello("reign2", `window = "6s"`, ""))
}

// pause waits to see that nothing happens.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}
