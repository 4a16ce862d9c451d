//go:build e2e

package e2e_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// docs/traffic.md is played as it stands: blue and green, a canary, a rollback, a rollout
// over time and one that goes back by itself.
func TestDocs_Traffic(t *testing.T) {
	t.Parallel()
	root, err := harness.Root()
	harnesstest.Must(t, "find the checkout", err)
	steps, err := harnesstest.Steps(filepath.Join(root, "docs", "traffic.md"))
	harnesstest.Must(t, "read the page", err)
	if len(steps) < 8 {
		t.Fatalf("the page has only %d steps", len(steps))
	}
	dir := t.TempDir()
	sh := harnesstest.NewShell(t, dir, []string{
		"HOME=" + dir, "PATH=" + stack.Bin + ":" + os.Getenv("PATH"),
		"WADI_ADDR=http://" + stack.Agent.API, "GATEWAY=http://" + stack.Agent.Gateway,
	})
	for _, st := range steps {
		out := sh.Run(t, st)
		if line := st.Missing(out); line != "" {
			t.Fatalf("line %d printed no %q:\n%s\n%s\n%s", st.Line, line, st.Script, out, stack.TasksOf("store"))
		}
	}
}
