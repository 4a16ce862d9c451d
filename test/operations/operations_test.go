//go:build e2e

package operations_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
)

// The page brings agents up as a Nomad job on a cluster with ACLs, with the rights of their
// workload identity, and services through them; it upgrades, restores and removes them.
func TestOperations(t *testing.T) {
	c := start(t)
	all, err := steps(filepath.Join(c.root, "docs/operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("page", func(t *testing.T) { page(t, c, all) })
	t.Run("rolling update", func(t *testing.T) { rollingUpdate(t, c, all) })
}

func page(t *testing.T, c *cluster, all []step) {
	dir := t.TempDir()
	sh := newShell(t, dir, c.env(dir))
	for _, st := range all {
		out := sh.run(t, st)
		if line := st.missing(out); line != "" {
			t.Fatalf("line %d printed no %q:\n%s\n%s", st.line, line, st.script, out)
		}
	}
	if err := harness.Eventually(t.Context(), time.Minute, func() error { return c.nothingLeft(t.Context()) }); err != nil {
		t.Error(err)
	}
}
