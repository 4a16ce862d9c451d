//go:build e2e

package mesh_test

import (
	"context"
	"testing"
	"time"

	"github.com/wadi-run/wadi/internal/devcluster/process"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// Consul's server is away for 20 s, and then its client agent, which all Envoys, Nomad and
// Wadi use, is restarted. No caller notices.
func TestConsul_Away(t *testing.T) {
	deploy(t, hello("away", options{initial: 1, min: 1}))
	waitDirect(t, callerA, "away")
	var loads []*harnesstest.Load
	begin := func() {
		loads = []*harnesstest.Load{
			startLoad(t, callerA, "away", "/", 20*time.Millisecond, from("away-00001")),
			startLoad(t, callerB, "away", "/", 20*time.Millisecond, from("away-00001")),
			startOutside(t, "away", "/", 20*time.Millisecond, from("away-00001")),
		}
	}
	end := func() {
		t.Helper()
		must(t, "wait for the agent", stack.Agent.WaitLeader(t.Context()))
		for _, l := range loads {
			l.Wait(t, 100)
			l.WantAll(t, 20)
		}
	}
	for _, p := range []*process.Process{stack.Cluster.Consul, stack.Cluster.ConsulClientAgent} {
		t.Cleanup(func() {
			if !p.Running() {
				must(t, "start "+p.Name, p.Start(context.WithoutCancel(t.Context())))
			}
			must(t, "wait for the agent", stack.Agent.WaitLeader(context.WithoutCancel(t.Context())))
		})
	}

	begin()
	must(t, "stop the server", stack.Cluster.Consul.Stop(t.Context()))
	time.Sleep(20 * time.Second)
	must(t, "start the server", stack.Cluster.Consul.Start(t.Context()))
	end()

	// An agent that is shut down deregisters, and first removes all services of its
	// node: here those are all services of the cluster.
	begin()
	must(t, "kill the client agent", stack.Cluster.ConsulClientAgent.Kill())
	must(t, "start the client agent", stack.Cluster.ConsulClientAgent.Start(t.Context()))
	time.Sleep(5 * time.Second) // All Envoys reconnect within that.
	end()
	waitDirect(t, callerA, "away")
}
