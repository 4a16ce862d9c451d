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
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
)

// stack is the one that all tests share, and so are the callers.
var (
	stack   *harness.Stack
	callerA *caller
	callerB *caller
)

func TestMain(m *testing.M) {
	bin := flag.String("bin", "", "folder of the binaries, else bin/ of the checkout")
	flag.Parse()
	os.Exit(run(m, *bin))
}

func run(m *testing.M, bin string) (code int) {
	ctx := context.Background()
	// The tests wait more than they work.
	if err := flag.Set("test.parallel", "4"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var err error
	if stack, err = harness.Start(ctx, harness.Options{Bin: bin, ConsulClientAgent: true}); err != nil {
		fmt.Fprintln(os.Stderr, "start stack:", err)
		return 1
	}
	defer func() {
		stop, cancel := context.WithTimeout(ctx, 2*time.Minute)
		defer cancel()
		if err := stack.Stop(stop); err != nil {
			fmt.Fprintln(os.Stderr, "stop stack:", err)
			code = 1
		}
	}()
	if !stack.Cluster.Bridge {
		fmt.Println("no mesh on this machine:", stack.Cluster.WhyNot)
		return 0
	}
	if callerA, callerB, err = startCallers(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "start callers:", err)
		return 1
	}
	return m.Run()
}
