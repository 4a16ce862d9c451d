//go:build e2e

package e2e_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/scheduler"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// An instance that starts more slowly than its only caller waits, and than the idle time
// before zero, still starts and serves the next caller. Zero comes after that, the whole
// idle time later.
func TestServing_SlowStartIsWaitedFor(t *testing.T) {
	t.Parallel()
	stack.Deploy(t, hello("slow-app", options{
		env: map[string]string{"START_DELAY": "12s"}, scale: "initial = 0", queue: `timeout = "2s"`,
	}))
	harnesstest.WantStatus(t, stack.Get(t, "slow-app", "/"), 504)
	var decided []wadi.Decision
	err := harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
		var err error
		decided, err = stack.Agent.Client.Decisions(t.Context(), "slow-app")
		if err == nil && !slices.ContainsFunc(decided, func(d wadi.Decision) bool { return d.Ready > 0 || d.Desired == 0 }) {
			err = fmt.Errorf("it is not ready: %+v", decided)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	harnesstest.WantStatus(t, stack.Get(t, "slow-app", "/"), 200)
	if n := len(stack.Wakes(t, "slow-app-00001")); n != 1 {
		t.Errorf("got %d wakes, want 1: the instance was on its way; decisions %+v", n, decided)
	}
	if !slices.ContainsFunc(decided, func(d wadi.Decision) bool { return d.Rule == scheduler.RuleStarting && !d.StartUntil.IsZero() }) {
		t.Errorf("no decision says that an instance starts: %+v", decided)
	}
	stack.ToZero(t, "slow-app-00001")
	if steps := stack.Scalings(t, "slow-app-00001"); len(steps) != 2 {
		t.Errorf("got scalings %+v in Nomad, want one up and one down", steps)
	}
}
