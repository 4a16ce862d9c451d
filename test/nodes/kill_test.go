//go:build e2e && linux

package nodes_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// A node is lost at once, with its agent that leads: its network, Nomad, Consul, instances
// and their Envoys. Requests through the gateways of other nodes, and of callers in the mesh
// there, go on: those of services with more instances at once, those of the only instance
// when Nomad has replaced it, and those of a service at zero when another agent leads.
func TestKill(t *testing.T) {
	lost := leaderNode(t)
	calling := (lost + 1) % agentNodes
	rest := others(lost)
	const distinct = "constraint {\n      operator = \"distinct_hosts\"\n      value    = \"true\"\n    }"
	only := []string{"lost", "lost-mesh"}
	several := []string{"kept", "kept-mesh"}
	s := *stack
	s.Agent = rest[0]
	s.Deploy(t, inInstance(harnesstest.Hello("lost", "min = 1", ""), prefer(lost))+
		inInstance(harnesstest.HelloInMesh("lost-mesh", nil, "min = 1", ""), prefer(lost))+
		inInstance(harnesstest.Hello("kept", "min = 3", ""), distinct)+
		inInstance(harnesstest.HelloInMesh("kept-mesh", nil, "min = 2", ""), prefer(lost)+"\n    "+distinct)+
		harnesstest.Hello("woken", "initial = 0", ""))
	for _, name := range slices.Concat(only, several) {
		if on := nodesOf(t, wadi.RevisionID(name, 1)); !slices.Contains(on, cluster.Nodes[lost].Name) {
			t.Fatalf("%s is on %v, not on %s", name, on, cluster.Nodes[lost].Name)
		}
		answersEverywhere(t, name, agents...)
	}
	callers, err := s.StartCallersOn(t.Context(), cluster.Nodes[calling].Name, []string{"lost-mesh", "kept-mesh"}, "caller-of-lost")
	harnesstest.Must(t, "start a caller", err)
	t.Cleanup(func() { stopCallers(t) })
	loads := map[string]*harnesstest.Load{}
	for _, name := range slices.Concat(only, several) {
		loads[name] = harnesstest.StartLoad(t, loadEvery, loadAtOnce, through(name, rest...))
		if strings.HasSuffix(name, "-mesh") {
			call := calls(t, callers[0], name)
			harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
				_, err := call(t.Context())
				return err
			})
			loads[name+" by a caller"] = harnesstest.StartLoad(t, loadEvery, loadAtOnce, call)
		}
	}
	for _, l := range loads {
		l.Wait(t, 10)
	}

	node, dead := cluster.Nodes[lost], true
	revive := func() {
		if dead {
			dead = false
			ctx := context.WithoutCancel(t.Context())
			harnesstest.Must(t, "revive the node", node.Revive(ctx))
			harnesstest.Must(t, "start its agent", agents[lost].Start(ctx))
			harnesstest.Must(t, "wait for its agent", agents[lost].WaitLeader(ctx))
		}
	}
	t.Cleanup(revive)
	began := time.Now()
	passed := func() time.Duration { return time.Since(began).Round(10 * time.Millisecond) }
	harnesstest.Must(t, "kill the node", node.Kill(t.Context()))
	t.Logf("killed after %v", passed())
	woken := make(chan error, 1)
	go func() {
		_, err := through("woken", rest[1])(t.Context())
		t.Logf("woken after %v: %v", passed(), err)
		woken <- err
	}()
	for _, a := range rest {
		harnesstest.Eventually(t, harnesstest.WaitLong, func() error { return ledByAnother(t, a, agents[lost].Name) })
	}
	t.Logf("another leads after %v", passed())
	for _, name := range only {
		harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
			on := nodesOf(t, wadi.RevisionID(name, 1))
			if len(on) == 0 || slices.Contains(on, node.Name) {
				return fmt.Errorf("%s is on %v", name, on)
			}
			return nil
		})
		t.Logf("%s is on another node after %v", name, passed())
	}
	for name, l := range loads {
		goesOn(t, name, l)
		t.Logf("%s goes on after %v: %v", name, passed(), l)
	}
	harnesstest.Must(t, "wake a service", <-woken)

	// The node comes back, with all that it thinks it runs.
	revive()
	for _, name := range slices.Concat(only, several) {
		answersEverywhere(t, name, agents...)
		harnesstest.Eventually(t, harnesstest.WaitLong, func() error { return countIsMet(t, wadi.RevisionID(name, 1)) })
	}
	if _, failed := loads["kept"].Count(); failed > 0 {
		t.Errorf("a service with instances on other nodes: %v", loads["kept"])
	}
	for name, l := range loads {
		goesOn(t, name, l)
		l.Stop()
		t.Logf("%s at the end: %v", name, l)
	}
}

// goesOn waits until a load has more answers, whatever failed before.
func goesOn(t *testing.T, name string, l *harnesstest.Load) {
	t.Helper()
	had, _ := l.Count()
	err := harness.Eventually(t.Context(), harnesstest.WaitLong, func() error {
		if good, _ := l.Count(); good < had+40 {
			return fmt.Errorf("%d answers, had %d", good, had)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%s does not go on: %v: %v", name, err, l)
	}
}

// ledByAnother returns an error while an agent has no leader, or still this one.
func ledByAnother(t *testing.T, a *harness.Agent, name string) error {
	l, err := a.Client.Leader(t.Context())
	if err == nil && l.Name == name {
		err = errors.New("the dead agent leads")
	}
	return err
}

// countIsMet returns an error unless exactly as many instances run as Nomad shall run.
func countIsMet(t *testing.T, revision string) error {
	want, err := stack.Count(t.Context(), revision)
	if err != nil {
		return err
	}
	if on := nodesOf(t, revision); len(on) != want {
		return fmt.Errorf("%s is on %v, and its count is %d", revision, on, want)
	}
	return nil
}
