//go:build e2e && linux

package nodes_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// prefer is an affinity for a node, by its index; the instance may go elsewhere.
func prefer(node int) string {
	return fmt.Sprintf("affinity {\n      attribute = \"${node.unique.name}\"\n      value     = \"node-%d\"\n      weight    = 100\n    }", node+1)
}

// require is a constraint to a node.
func require(node int) string {
	return fmt.Sprintf("constraint {\n      attribute = \"${node.unique.name}\"\n      value     = \"node-%d\"\n    }", node+1)
}

// inInstance puts a block into a service's instance.
func inInstance(hcl, block string) string {
	return strings.Replace(hcl, "  instance {\n", "  instance {\n    "+block+"\n", 1)
}

// nodesOf are the names of the nodes that a revision's instances run on.
func nodesOf(t *testing.T, revision string) (names []string) {
	t.Helper()
	allocs, err := stack.Allocs(t.Context(), revision)
	harnesstest.Must(t, "list instances", err)
	for _, a := range allocs {
		names = append(names, a.NodeName)
	}
	return names
}

// through sends requests to a service from another machine, to the gateways of agents in
// turn, as a load balancer does.
func through(service string, agents ...*harness.Agent) harnesstest.Send {
	var turn atomic.Int64
	client := cluster.Server.Client()
	return func(ctx context.Context) (string, error) {
		a := agents[int(turn.Add(1))%len(agents)]
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.URL("/"), nil)
		if err != nil {
			return "", err
		}
		req.Host = service + "." + harness.Domain
		text, err := harnesstest.Answer(harness.Do(client, req))
		if err != nil {
			err = fmt.Errorf("by %s: %w", a.Name, err)
		}
		return text, err
	}
}

// callPatience is how long a caller in the mesh waits. A request that its Envoy has sent to
// a machine that is gone gets no answer, and no error: nothing says that it is gone.
const callPatience = 20 * time.Second

// calls sends requests to a service in the mesh, straight from a caller's Envoy.
func calls(t *testing.T, c *harnesstest.Caller, service string) harnesstest.Send {
	t.Helper()
	send := harnesstest.Getting(c.Client(t), c.URL(service, "/"))
	return func(ctx context.Context) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, callPatience)
		defer cancel()
		return send(ctx)
	}
}

// answersEverywhere waits until the gateway of each agent answers for a service.
func answersEverywhere(t *testing.T, service string, agents ...*harness.Agent) {
	t.Helper()
	for _, a := range agents {
		send := through(service, a)
		harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
			_, err := send(t.Context())
			return err
		})
	}
}
