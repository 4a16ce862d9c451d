//go:build e2e

package dev_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi/internal/devcluster"
	"github.com/wadi-run/wadi/internal/survey"
	"github.com/wadi-run/wadi/internal/toolchain"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// Nomad takes the plugin block of docs/operations.md, and keeps images as the page says.
func TestDocs_PluginBlock(t *testing.T) {
	t.Parallel()
	root, err := harness.Root()
	harnesstest.Must(t, "find the checkout", err)
	page, err := os.ReadFile(filepath.Join(root, "docs", "operations.md"))
	harnesstest.Must(t, "read the page", err)
	_, after, found := strings.Cut(string(page), "\n## Docker on the nodes\n")
	_, block, inHCL := strings.Cut(after, "```hcl\n")
	block, _, ended := strings.Cut(block, "```\n")
	if !found || !inHCL || !ended || !strings.HasPrefix(block, `plugin "docker"`) {
		t.Fatalf("the page has no plugin block, but %q", block)
	}
	tools, missing := toolchain.Locate(t.Context())
	if tools.Nomad == "" || tools.Consul == "" {
		t.Skipf("no Nomad and Consul: %v (make tools)", missing)
	}
	c, err := devcluster.Start(t.Context(), devcluster.Config{Tools: tools, ExtraNomadHCL: block})
	harnesstest.Must(t, "start a Nomad with it", err)
	t.Cleanup(func() { harnesstest.Must(t, "stop it", c.Stop(context.WithoutCancel(t.Context()))) })
	r, err := survey.New(survey.Config{Address: c.NomadAddr})
	harnesstest.Must(t, "make a reader", err)
	defer r.Close()
	if got := survey.AskNomadAgent(t.Context(), r); got.Err != nil || got.Value.ImageGC != (survey.ImageGC{On: true, Delay: 168 * time.Hour}) {
		t.Errorf("got %+v", got)
	}
}
