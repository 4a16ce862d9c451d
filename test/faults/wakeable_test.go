//go:build e2e

package faults_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/scheduler"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// Mesh callers have no activator of the service's protocol: the service keeps an instance,
// and says why, until there is one.
func TestActivatorAway_NoZero(t *testing.T) {
	const id = "wadi-activator:wadi-1"
	stack.Deploy(t, harnesstest.HelloInMesh("unwakeable", nil, `window = "6s"`, ""))
	harnesstest.Must(t, "have the activator's checks fail", stack.Consul.Agent().EnableServiceMaintenance(id, "a test"))
	back := func() error { return stack.Consul.Agent().DisableServiceMaintenance(id) }
	t.Cleanup(func() { _ = back() }) // It may be called twice.
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		all, err := stack.Agent.Client.Decisions(t.Context(), "unwakeable")
		if err != nil || len(all) == 0 {
			return fmt.Errorf("no decision: %v", err)
		}
		if d := all[len(all)-1]; d.Rule != scheduler.RuleNotWakeable || !strings.Contains(d.Reason, "no wadi-activator, ") {
			return fmt.Errorf("got %+v", d)
		}
		return nil
	})
	if n, err := stack.Count(t.Context(), "unwakeable-00001"); err != nil || n != 1 {
		t.Errorf("got a count of %d (%v), want 1", n, err)
	}
	harnesstest.Must(t, "have them pass", back())
	stack.ToZero(t, "unwakeable-00001")
}
