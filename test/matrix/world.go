//go:build e2e

// Package matrix breaks Wadi's surroundings, and Wadi itself, on purpose and under load, one
// fault after the other, and says what each one did: the matrix of docs/faults.md, and the
// random run of make chaos.
//
// A World is a real cluster with three agents and a few services under constant load, whose
// requests are numbered. A Fault breaks something in it and mends it; World.Run does that and
// gives a Row. It promises that each request of the load has ended when Run returns, and was
// judged, and that a Row has an error if an invariant did not hold or a request failed that
// was not allowed to. It refuses to repeat anything until it passes.
package matrix

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	consul "github.com/hashicorp/consul/api"
	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/internal/devcluster/process"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// World is a cluster with agents and services under load.
type World struct {
	Dir    string           // Of the cluster: every allocation's folder is below it.
	Nomad  *nomad.Client    // Asks the server itself.
	Consul *consul.Client   // Asks the server itself.
	Agents []*harness.Agent // All that are meant to run.
	Mesh   bool             // Bridge networks and Envoys work.

	// The processes that faults hit. The clients are those that the agents and Envoys ask;
	// NomadServer runs the tasks too where there is no node of its own.
	NomadServer, NomadClient, ConsulServer, ConsulClient *process.Process

	Load *Load
	Hit  Hit // Of the fault that runs.

	ledger string // File of the apps.

	consulAddr, nomadAddr string             // As the agents are configured.
	proxies               map[string]proxies // By the agent's name; nil before withProxies.
	stop                  []func(context.Context) error
}

// Options of a world.
type Options struct {
	Bin string // The folder of the binaries; empty is bin/ of the checkout.
}

// agents is how many agents a world has.
const agents = 3

// Start brings up a world on one node, and returns when its services answer.
func Start(ctx context.Context, o Options) (*World, error) {
	stack, err := harness.Start(ctx, harness.Options{Bin: o.Bin, ConsulClientAgent: true, NomadClientAgent: true, MaxKillTimeout: 6 * time.Minute})
	if err != nil {
		return nil, fmt.Errorf("start the cluster: %w", err)
	}
	w := &World{
		Dir: stack.Cluster.Dir, Mesh: stack.Cluster.Bridge, ledger: filepath.Join(stack.Dir, "ledger"),
		NomadServer: stack.Cluster.Nomad, NomadClient: stack.Cluster.NomadClientAgent,
		ConsulServer: stack.Cluster.Consul, ConsulClient: stack.Cluster.ConsulClientAgent,
		consulAddr: stack.Cluster.ConsulAddr, nomadAddr: stack.Cluster.NomadAddr,
		stop: []func(context.Context) error{stack.Stop},
	}
	if err := w.up(ctx, stack); err != nil {
		return nil, errors.Join(err, w.Stop(context.WithoutCancel(ctx)))
	}
	return w, nil
}

func (w *World) up(ctx context.Context, stack *harness.Stack) (err error) {
	if w.Nomad, err = nomad.NewClient(&nomad.Config{Address: stack.Cluster.NomadServerAddr}); err != nil {
		return err
	}
	if w.Consul, err = consul.NewClient(&consul.Config{Address: stack.Cluster.ConsulServerAddr}); err != nil {
		return err
	}
	w.Agents = []*harness.Agent{stack.Agent}
	for i := 2; i <= agents; i++ {
		a, err := stack.NewAgent(fmt.Sprintf("wadi-%d", i), "")
		if err != nil {
			return err
		}
		if err := a.Start(ctx); err != nil {
			return err
		}
		if err := a.WaitLeader(ctx); err != nil {
			return err
		}
		w.Agents = append(w.Agents, a)
	}
	if err := w.deploy(ctx); err != nil {
		return err
	}
	var caller *harnesstest.Caller
	if w.Mesh {
		callers, err := (&harnesstest.Stack{Stack: stack}).StartCallers(ctx, []string{ServiceMesh}, "caller")
		if err != nil {
			return err
		}
		caller = callers[0]
	}
	w.Load = newLoad(w.Agents, caller)
	w.stop = append(w.stop, func(context.Context) error { w.Load.Stop(); return nil })
	return w.Settle(ctx, time.Now())
}

// Stop ends the load, removes the services and checks that nothing of them is left, and then
// removes the cluster.
func (w *World) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	var errs []error
	if w.Load != nil {
		w.Load.Stop()
		errs = append(errs, w.remove(ctx), w.NothingLeft(ctx))
	}
	for i := len(w.stop) - 1; i >= 0; i-- {
		errs = append(errs, w.stop[i](ctx))
	}
	return errors.Join(errs...)
}
