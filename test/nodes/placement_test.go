//go:build e2e && linux

package nodes_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// Instances are where constraints, affinities and spreads put them, and the gateway of each
// node answers, whether or not the node has an instance, host network and mesh alike.
func TestPlacement(t *testing.T) {
	const distinct = "constraint {\n      operator = \"distinct_hosts\"\n      value    = \"true\"\n    }"
	where := []struct {
		name, hcl string
		on        []string
	}{
		{"spread", inInstance(harnesstest.Hello("spread", "min = 3", ""), distinct), []string{"node-1", "node-2", "node-3"}},
		{"pinned", inInstance(harnesstest.Hello("pinned", "min = 1", ""), require(1)), []string{"node-2"}},
		{"pinned-mesh", inInstance(harnesstest.HelloInMesh("pinned-mesh", nil, "min = 1", ""), require(2)), []string{"node-3"}},
		{"preferred", inInstance(harnesstest.Hello("preferred", "min = 1", ""), prefer(0)), []string{"node-1"}},
	}
	var all strings.Builder
	for _, w := range where {
		all.WriteString(w.hcl)
	}
	stack.Deploy(t, all.String())
	for _, w := range where {
		on := nodesOf(t, wadi.RevisionID(w.name, 1))
		if slices.Sort(on); !slices.Equal(on, w.on) {
			t.Errorf("%s is on %v, want %v", w.name, on, w.on)
		}
		answersEverywhere(t, w.name, agents...)
	}
	for _, a := range agents {
		harnesstest.Eventually(t, harnesstest.WaitLong, func() error { return knowsAll(t, a) })
	}
}

// knowsAll returns an error unless an agent shows what the leader alone knows, and has the
// reports of all agents.
func knowsAll(t *testing.T, a *harness.Agent) error {
	for _, args := range [][]string{{"explain", "spread"}, {"events", "-service", "spread"}, {"service", "list"}} {
		ran, err := a.Wadi(t.Context(), "", args...)
		if err != nil || ran.Code != 0 || !strings.Contains(ran.Stdout, "spread") {
			return fmt.Errorf("%s: wadi %s: %v (%v)", a.Name, strings.Join(args, " "), ran, err)
		}
	}
	reports, err := a.Client.Doctor(t.Context())
	if err != nil {
		return fmt.Errorf("%s: %w", a.Name, err)
	}
	text, err := json.Marshal(reports)
	if err == nil && (len(reports.Agents) != len(agents) || strings.Contains(string(text), "can't ask it")) {
		err = fmt.Errorf("%s has %d reports: %s", a.Name, len(reports.Agents), text)
	}
	return err
}

// Services in another namespace, and in another node pool, whose node has no agent of its
// own: they start from zero by a request at any gateway.
func TestPlacement_NamespaceAndPool(t *testing.T) {
	const namespace = "team"
	_, err := stack.Nomad.Namespaces().Register(&nomad.Namespace{Name: namespace}, nil)
	harnesstest.Must(t, "make a namespace", err)
	var all strings.Builder
	for name, where := range map[string]string{
		"of-team":      fmt.Sprintf("namespace = %q", namespace),
		"in-pool":      fmt.Sprintf("node_pool = %q", otherPool),
		"team-in-pool": fmt.Sprintf("namespace = %q\n  node_pool = %q", namespace, otherPool),
	} {
		all.WriteString(harnesstest.Hello(name, "initial = 0", where))
		all.WriteString(harnesstest.HelloInMesh(name+"-mesh", nil, "initial = 0", where))
	}
	for _, s := range stack.Submit(t, all.String()) {
		answersEverywhere(t, s.Name, agents...) // The first one wakes it.
	}
	for _, n := range []string{namespace, "default"} {
		allocs, _, err := stack.Nomad.Allocations().List(&nomad.QueryOptions{Namespace: n})
		harnesstest.Must(t, "list instances", err)
		var found []string
		for _, a := range allocs {
			pooled := strings.Contains(a.JobID, "in-pool")
			if (strings.Contains(a.JobID, "team") || pooled) && a.ClientStatus == "running" {
				found = append(found, a.JobID)
				if pooled != (a.NodeName == cluster.Nodes[agentNodes].Name) {
					t.Errorf("%s is on %s", a.JobID, a.NodeName)
				}
				if inTeam := strings.Contains(a.JobID, "team"); inTeam != (n == namespace) {
					t.Errorf("%s is in namespace %s", a.JobID, n)
				}
			}
		}
		if len(found) < 2 {
			t.Errorf("namespace %s has only %v", n, found)
		}
	}
}
