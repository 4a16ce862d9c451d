//go:build e2e

// Package mesh_test proves what Wadi promises to callers inside the Consul mesh, on
// a real Nomad, Consul and several Envoys.
//
// All tests share one cluster, one agent and two callers, each of which has an Envoy
// with an upstream to every service of the tests. What a test sends, it sends from
// inside a caller's network, straight to that Envoy: there is no app in between that
// could mend or spoil an answer. A test that stops or breaks a shared part must not
// call t.Parallel, and leaves the part as it found it.
package mesh_test

import (
	"context"
	"testing"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// stack is the one that all tests share, and so are the callers.
var (
	stack   *harnesstest.Stack
	callerA *caller
	callerB *caller
)

func TestMain(m *testing.M) {
	harnesstest.Main(m, &stack, harnesstest.Options{
		Parallel: 3, Mesh: true, Stack: harness.Options{ConsulClientAgent: true, MaxKillTimeout: maxKillTimeout},
		Ready: func(ctx context.Context) (err error) {
			callerA, callerB, err = startCallers(ctx)
			return err
		},
	})
}
