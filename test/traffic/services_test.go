//go:build e2e

package traffic_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// version renders a version of a service of the example app in the mesh. One instance of
// each of its revisions stays up, however long a busy machine needs between two requests.
func version(name, v string, targets ...string) string {
	return versionWith(name, map[string]string{"VERSION": v}, `window = "1h"`, harnesstest.Traffic(targets...))
}

// versionWith is version with an environment, a scale block and more of the service's own.
func versionWith(name string, env map[string]string, scale, more string) string {
	// A busy machine starts an instance slowly, and a count of zero by hand stands until all
	// instances are gone.
	more += "\n  queue {\n    timeout = \"150s\"\n  }"
	return harnesstest.HelloInMesh(name, env, "max = 1\n    manual_hold = \"5m\"\n    "+scale, more)
}

// deploy applies services, waits until they are ready and the caller's Envoy reaches them,
// and deletes them at the end.
func deploy(t *testing.T, hcl string) {
	t.Helper()
	for _, s := range stack.Deploy(t, hcl) {
		if slices.Contains(callees, s.Name) {
			waitKnown(t, s.Name)
		}
	}
}

// waitKnown waits until the caller's Envoy reaches a name.
func waitKnown(t *testing.T, name string) {
	t.Helper()
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		res, err := caller.Send(t, http.MethodGet, name, "/", nil, nil)
		if err == nil && res.Status != http.StatusOK {
			err = fmt.Errorf("%s is not reached: status %d %v %s", name, res.Status, res.Header, res.Body)
		}
		return err
	})
}

// toZero sets a revision without requests to zero, and waits until no instance is left and
// the caller's Envoy knows none.
func toZero(t *testing.T, revision string) {
	t.Helper()
	stack.ZeroByHand(t, revision)
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error { return caller.Forgot(t.Context(), revision) })
}
