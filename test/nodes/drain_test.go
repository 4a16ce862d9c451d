//go:build e2e && linux

package nodes_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// loadEvery is the time between two requests of a load, and loadAtOnce how many of them
// may wait.
const (
	loadEvery  = 50 * time.Millisecond
	loadAtOnce = 64
)

// drain begins a node's drain, by its index. The node is eligible again at the test's end.
func drain(t *testing.T, node int) {
	t.Helper()
	id, err := cluster.Nodes[node].ID(t.Context())
	harnesstest.Must(t, "find the node", err)
	t.Cleanup(func() {
		_, err := stack.Nomad.Nodes().UpdateDrain(id, nil, true, nil)
		harnesstest.Must(t, "end the drain", err)
	})
	_, err = stack.Nomad.Nodes().UpdateDrain(id, &nomad.DrainSpec{Deadline: 2 * time.Minute}, false, nil)
	harnesstest.Must(t, "drain the node", err)
}

// A node is drained that has the only instances of services, in the host's network and in
// the mesh, at most one instance allowed or more: no request fails, from outside through
// any gateway, or from a caller in the mesh.
func TestDrain(t *testing.T) {
	leader := leaderNode(t)
	drained, calling := (leader+1)%agentNodes, (leader+2)%agentNodes
	services := []struct {
		name, hcl string
	}{
		{"moved", harnesstest.Hello("moved", "min = 1", "")},
		{"moved-one", harnesstest.Hello("moved-one", "min = 1\n    max = 1", "")},
		{"moved-mesh", harnesstest.HelloInMesh("moved-mesh", nil, "min = 1", "")},
	}
	loads := map[string]*harnesstest.Load{}
	var all strings.Builder
	for _, s := range services {
		all.WriteString(inInstance(s.hcl, prefer(drained)))
	}
	stack.Deploy(t, all.String())
	for _, s := range services {
		if on := nodesOf(t, wadi.RevisionID(s.name, 1)); !slices.Equal(on, []string{cluster.Nodes[drained].Name}) {
			t.Fatalf("%s is on %v", s.name, on)
		}
		answersEverywhere(t, s.name, agents...)
	}
	callers, err := stack.StartCallersOn(t.Context(), cluster.Nodes[calling].Name, []string{"moved-mesh"}, "caller-of-moved")
	harnesstest.Must(t, "start a caller", err)
	t.Cleanup(func() { stopCallers(t) })
	inMesh := calls(t, callers[0], "moved-mesh")
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		_, err := inMesh(t.Context())
		return err
	})
	for _, s := range services {
		loads[s.name] = harnesstest.StartLoad(t, loadEvery, loadAtOnce, through(s.name, agents...))
	}
	loads["by a caller"] = harnesstest.StartLoad(t, loadEvery, loadAtOnce, inMesh)
	for _, l := range loads {
		l.Wait(t, 10)
	}

	began := time.Now()
	drain(t, drained)
	for _, s := range services {
		harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
			on := nodesOf(t, wadi.RevisionID(s.name, 1))
			// A slow machine may need more than one for this load.
			if len(on) == 0 || slices.Contains(on, cluster.Nodes[drained].Name) {
				return fmt.Errorf("%s is on %v\n%s", s.name, on, stack.TasksOf(s.name))
			}
			return nil
		})
		t.Logf("%s has moved after %v", s.name, time.Since(began).Round(100*time.Millisecond))
	}
	for name, l := range loads {
		l.Wait(t, 20)
		l.WantAll(t, 40)
		t.Logf("%s: %v", name, l)
	}
}

// stopCallers purges the callers' job, and waits until it has ended.
func stopCallers(t *testing.T) {
	t.Helper()
	_, _, err := stack.Nomad.Jobs().Deregister("callers", true, nil)
	harnesstest.Must(t, "stop the callers", err)
	harnesstest.Must(t, "stop the callers", stack.WaitGone(context.WithoutCancel(t.Context()), "callers", harnesstest.WaitLong))
}
