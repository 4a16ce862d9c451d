//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// Without ACLs there is nothing but a configuration and jobs, and an agent with that
// configuration serves a service that has nothing but an instance.
func TestInit_WithoutACLs(t *testing.T) {
	w := stack.Init(t, harness.Tokens{}, "-runs-as", "service", "-domain", harness.Domain)
	if len(w.Files) != 2 || w.Chosen.Mesh != stack.Cluster.Mesh {
		t.Errorf("got %+v", w)
	}
	a := stack.InitAgent(t, w, "wadi-init", harness.Tokens{})
	harnesstest.Must(t, "apply", a.Apply(t.Context(), `service "fresh" {
  instance {
    task "web" {
      driver = "raw_exec"
      config {
        command = "hello"
      }
    }
  }
}
`))
	t.Cleanup(func() { harnesstest.Must(t, "delete", a.Delete(context.WithoutCancel(t.Context()), "fresh")) })
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		res, err := a.Get(t.Context(), "fresh", "/")
		if err == nil && res.Status != http.StatusOK {
			err = fmt.Errorf("got %d: %s", res.Status, res.Body)
		}
		return err
	})
}
