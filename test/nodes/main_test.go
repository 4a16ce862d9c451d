//go:build e2e && linux

// Package nodes_test breaks and drains the nodes of a cluster of three, with an agent on each.
package nodes_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/nodes"
)

var (
	cluster *nodes.Cluster
	agents  []*harness.Agent // One on each node.
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	bin := flag.String("bin", "", "folder of the binaries, else bin/ of the checkout")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	var log hclog.Logger
	if testing.Verbose() {
		log = hclog.Default()
	}
	var err error
	cluster, err = nodes.Start(ctx, nodes.Options{Bin: *bin, N: 3, HeartbeatGrace: 3 * time.Second, Log: log})
	if err == nil {
		defer func() {
			if err := cluster.Stop(ctx); err != nil {
				fmt.Fprintln(os.Stderr, err)
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
	for i, n := range cluster.Nodes {
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
	return errors.Join(errs...)
}
