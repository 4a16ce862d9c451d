//go:build e2e

package faults_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// second is another agent on the cluster. Only one is ever made; the tests that need it
// start and stop it.
var second = sync.OnceValues(func() (*harness.Agent, error) { return stack.NewAgent("wadi-2", "") })

// startSecond runs the second agent until the test ends.
func startSecond(t *testing.T) *harness.Agent {
	t.Helper()
	two, err := second()
	harnesstest.Must(t, "configure the second agent", err)
	harnesstest.Must(t, "start it", two.Start(t.Context()))
	t.Cleanup(func() { harnesstest.Must(t, "stop the second agent", two.Stop(context.WithoutCancel(t.Context()))) })
	harnesstest.Must(t, "wait for it", two.WaitLeader(t.Context()))
	return two
}

// saysLeads is an error unless an agent reports the wanted leader.
func saysLeads(t *testing.T, asked, want *harness.Agent) error {
	l, err := asked.Client.Leader(t.Context())
	if err == nil && l.Name != want.Name {
		err = fmt.Errorf("%s leads, %s believes", l.Name, asked.Name)
	}
	return err
}

// A second agent serves like the first, and takes over when that is killed; requests wake
// services meanwhile.
func TestTwoAgents(t *testing.T) {
	two := startSecond(t)
	eventually(t, harnesstest.WaitLong, func() error { return saysLeads(t, two, stack.Agent) })

	// The follower accepts a submission, and its gateway answers.
	sub, err := two.Submit(t.Context(), harnesstest.Hello("pair", `window = "6s"`, "")+harnesstest.Hello("spare", `window = "6s"`, "")+harnesstest.Hello("kept", `window = "1h"`, ""))
	harnesstest.Must(t, "submit to the follower", err)
	for _, s := range sub.Services {
		t.Cleanup(func() { stack.Remove(t, s.Name) })
		harnesstest.Must(t, "wait", two.WaitReady(t.Context(), s.Name, s.Generation))
	}
	eventually(t, harnesstest.WaitLong, func() error { return through(two, "pair", "/")(t.Context()) })
	eventually(t, harnesstest.WaitLong, func() error {
		list, err := two.Client.Services(t.Context())
		if err == nil && len(list) != 3 {
			err = fmt.Errorf("the follower lists %d services, want 3", len(list))
		}
		return err
	})
	eventually(t, harnesstest.WaitLong, func() error {
		_, err := two.Client.Decisions(t.Context(), "pair")
		return err
	})
	// From here on, so that its instance stays however long the others take to go.
	steady := drive(t, 2, 20*time.Millisecond, through(two, "kept", "/"))
	steady.Wait(t, 10)
	stack.ToZero(t, "pair-00001")
	stack.ToZero(t, "spare-00001")
	before := jobs(t, "kept-00001")

	harnesstest.Must(t, "kill the leader", stack.Agent.Kill())
	killed := time.Now()
	t.Cleanup(func() { // The first agent must run again in any case.
		select {
		case <-stack.Agent.Done():
			harnesstest.Must(t, "start the first agent", stack.Agent.Start(context.WithoutCancel(t.Context())))
			harnesstest.Must(t, "wait for it", stack.Agent.WaitLeader(context.WithoutCancel(t.Context())))
		default:
		}
	})
	res := wantAnswer(t, two, "pair", "/") // Woken without a leader.
	t.Logf("woken through the follower %v after the kill, in %v", time.Since(killed), res.Took)
	eventually(t, harnesstest.WaitLong, func() error { return saysLeads(t, two, two) })
	t.Logf("another led %v after the kill", time.Since(killed))
	wantAnswer(t, two, "spare", "/")
	stack.ToZero(t, "pair-00001") // The new leader scales.
	steady.WantAll(t, 20)
	wantSame(t, before, "after the change of leaders")

	harnesstest.Must(t, "start the first agent again", stack.Agent.Start(t.Context()))
	harnesstest.Must(t, "wait for it", stack.Agent.WaitLeader(t.Context()))
	eventually(t, harnesstest.WaitLong, func() error { return saysLeads(t, stack.Agent, two) })
	wantAnswer(t, stack.Agent, "spare", "/")
	stopped, began := make(chan error, 1), time.Now()
	go func() { stopped <- two.Stop(t.Context()) }()
	eventually(t, harnesstest.WaitLong, func() error {
		err := leads(stack.Agent)
		if err != nil && len(stopped) > 0 {
			err = harness.Final(fmt.Errorf("the second agent gave leadership back only at the end of its drain: %w", err))
		}
		return err
	})
	t.Logf("the first agent led %v after the second was told to stop", time.Since(began))
	harnesstest.Must(t, "stop the second agent", <-stopped)
}

// A second agent on the first one's ports reports that and exits, and the first is not
// affected.
func TestSecondAgentOnTheSamePorts(t *testing.T) {
	stack.Deploy(t, harnesstest.Hello("first", `window = "1h"`, ""))
	steady := drive(t, 2, 20*time.Millisecond, through(stack.Agent, "first", "/"))
	ctx, cancel := context.WithTimeout(t.Context(), harnesstest.WaitLong)
	defer cancel()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(stack.Bin, "wadi"), "agent", "-config", stack.Agent.Config)
	cmd.Stderr = &stderr
	_ = cmd.Run() // The exit code is checked below.
	if code := cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("got exit code %d, want 1", code)
	}
	for _, want := range []string{stack.Agent.Gateway, "gateway.address", "address already in use", "another agent"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("got error %q, want %q in it", stderr.String(), want)
		}
	}
	pause(t, time.Second)
	steady.WantAll(t, 5)
	harnesstest.Must(t, "the first agent leads", leads(stack.Agent))
}

// A second agent with the first one's name, on its own ports, reports that and exits: they
// would take turns at one registration.
func TestSecondAgentOfTheSameName(t *testing.T) {
	two, err := second()
	harnesstest.Must(t, "configure the second agent", err)
	ctx, cancel := context.WithTimeout(t.Context(), harnesstest.WaitLong)
	defer cancel()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(stack.Bin, "wadi"), "agent", "-config", two.Config, "-name", stack.Agent.Name)
	cmd.Stderr = &stderr
	_ = cmd.Run() // The exit code is checked below.
	if code := cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("got exit code %d, want 1", code)
	}
	for _, want := range []string{stack.Agent.Name, stack.Agent.API, "-name"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("got error %q, want %q in it", stderr.String(), want)
		}
	}
	harnesstest.Must(t, "the first agent leads", leads(stack.Agent))
}

// A second installation beside the first, with another prefix in the same Consul, reports
// that and exits: both would have the same names in the mesh and in Nomad.
func TestSecondInstallation(t *testing.T) {
	other, err := stack.NewAgent("wadi-other", "consul {\n  prefix = \"other/\"\n}\n")
	harnesstest.Must(t, "configure it", err)
	harnesstest.Must(t, "start it", other.Start(t.Context()))
	select {
	case <-other.Done():
	case <-time.After(harnesstest.WaitLong):
		t.Fatal("it goes on")
	}
	if code := other.ExitCode(); code != 1 {
		t.Errorf("got exit code %d, want 1", code)
	}
	for _, want := range []string{"another installation", stack.Agent.API, "other/"} {
		if !strings.Contains(other.Tail(5), want) {
			t.Errorf("got %q, want %q in it", other.Tail(5), want)
		}
	}
	harnesstest.Must(t, "the first agent leads", leads(stack.Agent))
}

func readAll(res *http.Response) (string, error) {
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return string(b), err
}
