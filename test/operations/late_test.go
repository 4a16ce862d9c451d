//go:build e2e

package operations_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// Agents that find no program on their node, which has just joined the cluster, run once it
// is there.
func programsComeLater(t *testing.T, c *cluster, sh *harnesstest.Shell) {
	t.Helper()
	sh.Run(t, harnesstest.Step{Script: "cd wadi/system\nnomad job run -detach -var release= wadi.nomad.hcl"})
	agents(t, c, func(restarts uint64, _ string) bool { return restarts > 0 })
	sh.Run(t, harnesstest.Step{Script: `nomad job run -var release="$RELEASES/wadi_${VERSION}_linux_amd64.tar.gz" wadi-node.nomad.hcl`})
	agents(t, c, func(_ uint64, state string) bool { return state == "running" })
	sh.Run(t, harnesstest.Step{Script: "nomad job stop -purge wadi\ncd ../.."})
}

// agents waits until all agents are as they should be, by how often they were started again
// and by the state of their tasks.
func agents(t *testing.T, c *cluster, are func(restarts uint64, state string) bool) {
	t.Helper()
	err := harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
		allocs, _, err := c.nomad.Jobs().Allocations("wadi", false, nil)
		if err != nil {
			return err
		}
		if len(allocs) == 0 {
			return errors.New("no agents are placed")
		}
		for _, a := range allocs {
			if s := a.TaskStates["agent"]; s == nil || !are(s.Restarts, s.State) {
				return fmt.Errorf("agent %s: %+v", a.Name, s)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
