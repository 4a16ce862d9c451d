//go:build e2e

package mesh_test

import (
	"context"

	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// callees are the upstreams of the callers, each at its own port in every caller's
// network.
var callees = []string{
	"leaves",
	"flap", "chain-b", "foreign", "foreign-late", "down-1", "down-2", "down-12",
	"no-envoy", "no-proxy", "long", "drip", "rotate", "rotate-act", "away", "stale",
	"tagged", "canary-tagged", "claims", "nap", "guarded", "ruled", "toggled",
	"grpc-echo", "grpc-chain", "grpc-slow", "h2c-hello", "shown", "again", "counted", "seen", "seen-h2c",
	"exits", "shielded", "ended",
}

// caller is a mesh service that Wadi does not manage.
type caller struct{ *harnesstest.Caller }

// startCallers runs two callers, and waits until their Envoys listen.
func startCallers(ctx context.Context) (a, b *caller, err error) {
	both, err := stack.StartCallers(ctx, callees, "caller-a", "caller-b")
	if err != nil {
		return nil, nil, err
	}
	return &caller{both[0]}, &caller{both[1]}, nil
}
