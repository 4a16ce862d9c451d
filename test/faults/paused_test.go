//go:build e2e

package faults_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// A leader that is paused for longer than its lock lasts finds another leader when it
// continues, and undoes none of its changes.
func TestPausedLeader(t *testing.T) {
	t.Cleanup(func() { // After the second agent has been stopped.
		harnesstest.Must(t, "wait for the first", stack.Agent.WaitLeader(context.WithoutCancel(t.Context())))
	})
	two := startSecond(t)
	stack.Deploy(t, harnesstest.Hello("paused", `window = "1h"`, ""))

	harnesstest.Must(t, "stop the leader's process", stack.Agent.Signal(syscall.SIGSTOP))
	goOn := func() error { return stack.Agent.Signal(syscall.SIGCONT) }
	t.Cleanup(func() { _ = goOn() })
	eventually(t, harnesstest.WaitLong, func() error { return saysLeads(t, two, two) })
	// The first agent still knows the service from before its deletion.
	harnesstest.Must(t, "delete it", two.Delete(t.Context(), "paused"))
	sub, err := two.Submit(t.Context(), harnesstest.Hello("paused", `window = "1h"`, ""))
	harnesstest.Must(t, "submit it again", err)
	harnesstest.Must(t, "wait", two.WaitReady(t.Context(), "paused", sub.Services[0].Generation))
	before := jobs(t, "paused-00001")

	harnesstest.Must(t, "let the first one go on", goOn())
	eventually(t, harnesstest.WaitLong, func() error { return saysLeads(t, stack.Agent, two) })
	pause(t, 3*time.Second)
	wantSame(t, before, "after the pause")
	harnesstest.Must(t, "the second one leads", saysLeads(t, two, two))
	wantAnswer(t, two, "paused", "/")
	wantAnswer(t, stack.Agent, "paused", "/")
}
