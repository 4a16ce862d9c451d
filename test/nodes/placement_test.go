//go:build e2e && linux

package nodes_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// Instances are on several nodes, and the gateway of each answers, host network and mesh.
func TestPlacement(t *testing.T) {
	for _, hcl := range []string{
		harnesstest.Hello("far-host", "min = 1", ""),
		harnesstest.HelloInMesh("far-mesh", nil, "min = 1", ""),
	} {
		harnesstest.Must(t, "apply", agents[0].Apply(t.Context(), hcl))
	}
	for _, name := range []string{"far-host", "far-mesh"} {
		for _, a := range agents {
			harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
				res, err := a.Get(t.Context(), name, "/")
				if err == nil && res.Status != http.StatusOK {
					err = fmt.Errorf("%s by %s: %d %s", name, a.Name, res.Status, res.Body)
				}
				return err
			})
		}
	}
}
