//go:build e2e

package devcluster_test

import (
	"fmt"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi/internal/devcluster"
	"github.com/wadi-run/wadi/internal/devcluster/process"
)

// With a client agent Nomad registers services there, and they are registered again after
// either agent was killed or stopped. The tasks go on.
func TestCluster_ConsulClientAgent(t *testing.T) {
	c := start(t, devcluster.Config{Path: []string{hello(t)}, ConsulClientAgent: true})
	if c.ConsulAddr == c.ConsulServerAddr {
		t.Fatalf("both agents are at %s", c.ConsulAddr)
	}
	if c.Dir == "" || !c.ConsulClientAgent.Running() {
		t.Fatal("the client agent does not run")
	}
	addr := job(t, c, "first", "host")
	wantRegistered(t, c, "first")
	for _, p := range []*process.Process{c.ConsulClientAgent, c.Consul} {
		for how, end := range map[string]func() error{
			"killed": p.Kill, "stopped": func() error { return p.Stop(t.Context()) },
		} {
			began := time.Now()
			if err := end(); err != nil {
				t.Fatal(err)
			}
			t.Logf("%s %s: after %s", p.Name, how, time.Since(began).Round(time.Millisecond))
			if p.Running() {
				t.Fatalf("%s was %s and runs", p.Name, how)
			}
			if err := get(addr, "first"); err != nil {
				t.Errorf("the task ended with %s: %v", p.Name, err)
			}
			began = time.Now()
			if err := p.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			t.Logf("%s %s: ready again after %s", p.Name, how, time.Since(began).Round(time.Millisecond))
			wantRegistered(t, c, "first")
		}
	}
	job(t, c, "second", "host")
	wantRegistered(t, c, "second")
}

// wantRegistered waits until a service is registered in the client agent, and healthy in
// the server, on the client agent's node.
func wantRegistered(t *testing.T, c *devcluster.Cluster, name string) {
	t.Helper()
	agent, err := c.ConsulClient()
	if err != nil {
		t.Fatal(err)
	}
	server, err := consul.NewClient(&consul.Config{Address: c.ConsulServerAddr})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "service "+name, func() error {
		self, err := agent.Agent().NodeName()
		if err != nil {
			return err
		}
		local, err := agent.Agent().ServicesWithFilter(fmt.Sprintf("Service == %q", name))
		if err != nil || len(local) != 1 {
			return fmt.Errorf("got %d services in the client agent (%v), want one", len(local), err)
		}
		all, _, err := server.Health().Service(name, "", true, nil)
		if err != nil || len(all) != 1 || all[0].Node.Node != self {
			return fmt.Errorf("got %d services in the server (%v), want one at node %s", len(all), err, self)
		}
		others, err := server.Agent().ServicesWithFilter(fmt.Sprintf("Service == %q", name))
		if err != nil || len(others) != 0 {
			return fmt.Errorf("got %d services in the server's own agent (%v), want none", len(others), err)
		}
		return nil
	})
}
