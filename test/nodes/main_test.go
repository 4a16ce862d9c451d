//go:build e2e && linux

// Package nodes_test breaks and drains the nodes of a cluster of several, with an agent on
// each but one.
package nodes_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
	"github.com/wadi-run/wadi/test/harness/nodes"
)

const (
	agentNodes = 3       // Nodes with an agent: the first ones, in Nomad's own pool.
	otherPool  = "apart" // The node pool of the last node.
)

var (
	cluster *nodes.Cluster
	stack   *harnesstest.Stack // Its Agent runs on the first node.
	agents  []*harness.Agent   // On the nodes of the same index.
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	bin := flag.String("bin", "", "folder of the binaries, else bin/ of the checkout")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	o := nodes.Options{Bin: *bin, N: agentNodes + 1, ClientHCL: func(i int) string {
		if i < agentNodes {
			return ""
		}
		return fmt.Sprintf("node_pool = %q\n", otherPool)
	}}
	// No node may die by itself on a busy machine: its heartbeats are a second apart.
	o.HeartbeatGrace = 3 * time.Second
	if testing.Verbose() {
		o.Log = hclog.Default()
	}
	var err error
	cluster, err = nodes.Start(ctx, o)
	if err == nil {
		defer func() {
			if err := cluster.Stop(ctx); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = 1
			}
		}()
		err = startAgents(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func startAgents(ctx context.Context) error {
	var errs []error
	for i, n := range cluster.Nodes[:agentNodes] {
		a, err := n.Agent(ctx, fmt.Sprintf("wadi-%d", i+1), "")
		errs = append(errs, err)
		agents = append(agents, a)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, a := range agents {
		errs = append(errs, a.WaitLeader(ctx))
	}
	stack = &harnesstest.Stack{Stack: &harness.Stack{
		Dir: cluster.Dir, Bin: cluster.Bin, Nomad: cluster.Nomad, Consul: cluster.Consul, Agent: agents[0],
	}}
	return errors.Join(errs...)
}

// leaderNode is the index of the node whose agent leads.
func leaderNode(t *testing.T) int {
	t.Helper()
	i := -1
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		l, err := stack.Agent.Client.Leader(t.Context())
		if err == nil {
			if i = slices.IndexFunc(agents, func(a *harness.Agent) bool { return a.Name == l.Name }); i < 0 {
				err = fmt.Errorf("the leader is %q", l.Name)
			}
		}
		return err
	})
	return i
}

// others are the agents but that of one node.
func others(node int) []*harness.Agent {
	return slices.Delete(slices.Clone(agents), node, node+1)
}
