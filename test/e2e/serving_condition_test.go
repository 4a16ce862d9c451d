//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/scheduler"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// waitServing waits until the service's condition Serving is as wanted and contains text.
func waitServing(t *testing.T, name string, ok bool, text string) {
	t.Helper()
	want := fmt.Sprintf("Serving %v with %q", ok, text)
	err := stack.Agent.WaitCondition(t.Context(), name, harnesstest.WaitLong, want, func(c wadi.Condition) bool {
		return c.Type == control.ConditionServing && c.OK == ok && strings.Contains(c.Message, text)
	})
	if err != nil {
		t.Error(err)
	}
}

// A revision was ready once, and its app can't start any more: status and doctor say so
// with the reason, also at zero, until it starts again.
func TestServing_ConditionOfAFailedStart(t *testing.T) {
	t.Parallel()
	const name, id = "lapsed", "lapsed-00001"
	broken := filepath.Join(t.TempDir(), "broken")
	stack.Deploy(t, hello(name, options{
		command: "sh", args: []string{"-c", "test ! -e " + broken + " || exit 4; exec hello"}, queue: `timeout = "20s"`,
	}))
	waitServing(t, name, true, "")
	stack.ToZero(t, id)
	waitServing(t, name, true, "") // Without requests there is no problem.
	if err := os.WriteFile(broken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	harnesstest.WantStatus(t, stack.Get(t, name, "/"), 503)
	waitServing(t, name, false, "Exit Code: 4")
	stack.ToZero(t, id)
	waitServing(t, name, false, "is at zero, and its last start failed: task web: Exit Code: 4")
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		if out, err := wadiCommand(t, "service", "status", name); err != nil || !strings.Contains(out, "Serving") || !strings.Contains(out, "Exit Code: 4") {
			return fmt.Errorf("status: %v, %s; want the condition Serving with the reason", err, out)
		}
		return nil
	})
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error { // An agent gives its answer again for some seconds.
		if out, err := wadiCommand(t, "doctor"); err == nil || !strings.Contains(out, "service "+name) || !strings.Contains(out, "Exit Code: 4") {
			return fmt.Errorf("doctor: %v, %s; want a failure with the reason", err, out)
		}
		return nil
	})
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	err := harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
		if res := stack.Get(t, name, "/"); res.Status != 200 {
			return fmt.Errorf("got status %d: %s", res.Status, res.Body)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	waitServing(t, name, true, "")
}

// While the only node is drained nothing serves, and status says why. Not parallel: all
// tests share the node.
func TestServing_ConditionWithoutANode(t *testing.T) {
	const name, id = "homeless", "homeless-00001"
	stack.Deploy(t, hello(name, options{min: 1}))
	waitServing(t, name, true, "")
	nodes, _, err := stack.Nomad.Nodes().List(nil)
	if err != nil {
		t.Fatal(err)
	}
	drain := func(spec *nomad.DrainSpec) {
		for _, n := range nodes {
			if _, err := stack.Nomad.Nodes().UpdateDrain(n.ID, spec, true, nil); err != nil {
				t.Errorf("drain %s: %v", n.ID, err)
			}
		}
	}
	t.Cleanup(func() { drain(nil) })
	drain(&nomad.DrainSpec{Deadline: time.Minute})
	err = harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
		all, err := stack.Agent.Client.Decisions(t.Context(), name)
		for _, d := range all {
			if d.Rule == scheduler.RuleMoving && d.Executed {
				return nil
			}
		}
		return fmt.Errorf("no instance was added before the only one moves (%v): %+v", err, all)
	})
	if err != nil {
		t.Error(err)
	}
	if err := stack.WaitGone(t.Context(), id, harnesstest.WaitLong); err != nil {
		t.Error(err)
	}
	waitServing(t, name, false, "no node")
	drain(nil)
	waitServing(t, name, true, "")
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		s, err := stack.Agent.Client.Service(t.Context(), name)
		if err == nil && s.Status.Revisions[0].Phase != wadi.Ready {
			err = fmt.Errorf("got revisions %+v, want it ready", s.Status.Revisions)
		}
		return err
	})
}
