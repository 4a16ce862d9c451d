//go:build e2e

package faults_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// A revision that starts while there is no leader, for longer than its deadline, has not
// failed: time without an observing leader does not count, and its readiness does.
func TestAgentKilled_WhileARevisionStarts(t *testing.T) {
	hcl := harnesstest.Hello("unseen", `window = "1h"`, `timeout { progress = "8s" }`)
	hcl = strings.Replace(hcl, "      resources {", `      env { START_DELAY = "4s" }
      resources {`, 1)
	sub := stack.Submit(t, hcl)
	eventually(t, harnesstest.WaitLong, func() error {
		n, err := stack.Count(t.Context(), "unseen-00001")
		if err == nil && n != 1 {
			err = fmt.Errorf("it has the count %d", n)
		}
		return err
	})
	harnesstest.Must(t, "kill the agent", stack.Agent.Kill())
	pause(t, 12*time.Second) // Longer than timeout.progress.
	harnesstest.Must(t, "start the agent again", stack.Agent.Start(t.Context()))
	harnesstest.Must(t, "wait for it", stack.Agent.WaitLeader(t.Context()))
	if err := stack.Agent.WaitReady(t.Context(), "unseen", sub[0].Generation); err != nil {
		t.Fatalf("%v\n%s", err, stack.LogOf("unseen", 40))
	}
	if log := stack.LogOf("unseen", 400); strings.Contains(log, "phase=failed") {
		t.Errorf("it was marked as failed meanwhile:\n%s", log)
	}
	wantAnswer(t, stack.Agent, "unseen", "/")
}
