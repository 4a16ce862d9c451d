//go:build e2e

// Package traffic_test proves how requests are shared between revisions, and that callers
// notice no change of that: through the gateway, through the Envoy of a caller in the mesh,
// and through Consul's API gateway.
//
// All tests share one cluster, one agent and one caller, whose Envoy has every service of
// the tests as upstream. A test that stops or breaks a shared part must not call t.Parallel,
// and restores the part.
package traffic_test

import (
	"context"
	"testing"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// stack and the caller are shared by all tests.
var (
	stack  *harnesstest.Stack
	caller *harnesstest.Caller
)

// callees are the upstreams of the caller: all names that tests call through its Envoy.
var callees = []string{
	"shares", "sleepy", "weighed", "moved", "twice", "ramp", "third", "good", "rotten", "ended", "survivor", "kept", "cases", "canary-cases",
}

func TestMain(m *testing.M) {
	harnesstest.Main(m, &stack, harnesstest.Options{
		Parallel: 2, Mesh: true, Stack: harness.Options{ConsulClientAgent: true},
		Ready: func(ctx context.Context) error {
			callers, err := stack.StartCallers(ctx, callees, "caller")
			if err == nil {
				caller = callers[0]
			}
			return err
		},
	})
}
