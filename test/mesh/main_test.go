//go:build e2e

// Package mesh_test proves what Wadi promises to callers inside the Consul mesh, on a real
// Nomad, Consul and several Envoys.
//
// All tests share one cluster, one agent and two callers, each with an Envoy that has
// every service of the tests as upstream. The tests send requests from inside a caller's
// network, straight to that Envoy: no app in between can change an answer. A test that
// stops or breaks a shared part must not call t.Parallel, and restores the part.
package mesh_test

import (
	"context"
	"testing"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// stack and the callers are shared by all tests.
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
