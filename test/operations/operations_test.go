//go:build e2e

package operations_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// The page brings agents up as a Nomad job on a cluster with ACLs, with the rights of their
// workload identity, and services through them; it upgrades, restores and removes them.
func TestOperations(t *testing.T) {
	c := start(t)
	all, err := harnesstest.Steps(filepath.Join(c.root, "docs/operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("page", func(t *testing.T) { page(t, c, all) })
	t.Run("rolling update", func(t *testing.T) { rollingUpdate(t, c, all) })
}

func page(t *testing.T, c *cluster, all []harnesstest.Step) {
	dir := t.TempDir()
	sh := harnesstest.NewShell(t, dir, c.env(dir))
	for _, st := range all {
		out := sh.Run(t, st)
		if line := st.Missing(out); line != "" {
			t.Fatalf("line %d printed no %q:\n%s\n%s", st.Line, line, st.Script, out)
		}
		if strings.Contains(st.Script, "wadi apply files.hcl") {
			driftIsKnown(t, sh)
		}
	}
	if err := harness.Eventually(t.Context(), harnesstest.WaitLong, func() error { return c.nothingLeft(t.Context()) }); err != nil {
		t.Error(err)
	}
}

// Nomad makes no plan for an agent's workload identity. An edited job is put back all the
// same, and one that nobody edited is not called edited.
func driftIsKnown(t *testing.T, sh *harnesstest.Shell) {
	t.Helper()
	events := func() string { return sh.Run(t, harnesstest.Step{Script: "wadi events -service files"}) }
	if got := events(); strings.Contains(got, "DriftCorrected") {
		t.Errorf("a new job was taken for edited:\n%s", got)
	}
	sh.Run(t, harnesstest.Step{Script: `nomad job inspect files-00001 | sed 's/"CPU": 50/"CPU": 51/' > edited.json
nomad job run -json -detach edited.json`})
	err := harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
		if got := events(); !strings.Contains(got, "DriftCorrected") {
			return errors.New(got)
		}
		return nil
	})
	if err != nil {
		t.Errorf("the edited job was not put back: %v", err)
	}
	sh.Run(t, harnesstest.Step{Script: `nomad job inspect files-00001 | grep '"CPU": 50'`})
}
