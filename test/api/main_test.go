//go:build e2e

// Package api_test proves what the HTTP API and the commands on it promise, on a real Nomad and
// Consul: that the API is as its description says, that reads wait for changes, and that
// history outlives agents.
//
// All tests share one cluster and one agent, which some of them stop and start: none is parallel.
package api_test

import (
	"testing"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

var stack *harnesstest.Stack

func TestMain(m *testing.M) {
	harnesstest.Main(m, &stack, harnesstest.Options{Stack: harness.Options{Extra: `
http {
  requests_per_second = 100000
}
retention {
  keep_for        = "0s"
  keep_active_for = "0s"
}
`}})
}
