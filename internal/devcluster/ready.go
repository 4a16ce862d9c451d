package devcluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	nomad "github.com/hashicorp/nomad/api"
)

// runMeta is a key of the node's metadata; "unique." keeps it out of the node's class.
const runMeta = "unique.wadi-dev-run"

// errNotReady says that the node has registered, and has not sent a heartbeat yet.
var errNotReady = errors.New("registered, and not ready")

// keyringReady returns nil when the server has a keyring: without it the server refuses
// nodes. It makes the management token, which the question needs.
func (c *Cluster) keyringReady(ctx context.Context) error {
	if err := c.bootstrapNomad(ctx); err != nil {
		return err
	}
	client, err := c.server()
	if err != nil {
		return err
	}
	keys, _, err := client.Keyring().List((&nomad.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return err
	}
	for _, k := range keys {
		if k.State == "active" {
			return nil
		}
	}
	return errors.New("no active key yet")
}

// snapshot makes the server write a snapshot to its disk. A restarted server has the keys
// of a snapshot before it is elected, but those of its log only a moment later. In this
// moment it refuses its own node, which tries again only 15 to 30 s later.
func (c *Cluster) snapshot(ctx context.Context) error {
	client, err := c.server()
	if err != nil {
		return err
	}
	body, err := client.Operator().Snapshot((&nomad.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return fmt.Errorf("take snapshot: %w", err)
	}
	_, err = io.Copy(io.Discard, body)
	if err = errors.Join(err, body.Close()); err != nil {
		return fmt.Errorf("take snapshot: %w", err)
	}
	return nil
}

// nomadReady returns nil when Nomad has a leader, and a node that runs raw_exec jobs,
// knows Consul, and has bridge networks if the cluster has.
func (c *Cluster) nomadReady(ctx context.Context) error {
	client, err := c.server()
	if err != nil {
		return err
	}
	if leader, err := client.Status().Leader(); err != nil || leader == "" {
		return fmt.Errorf("no leader yet: %w", err)
	}
	node, err := c.node(ctx)
	if err != nil {
		return err
	}
	driver := node.Drivers["raw_exec"]
	switch {
	case node.Meta[runMeta] != strconv.Itoa(c.Nomad.Runs()):
		return errors.New("node has not registered")
	case node.Status != nomad.NodeStatusReady || node.SchedulingEligibility != nomad.NodeSchedulingEligible:
		return fmt.Errorf("node is %s and %s: %w", node.Status, node.SchedulingEligibility, errNotReady)
	case driver == nil || !driver.Healthy:
		return errors.New("driver raw_exec is not healthy")
	case node.Attributes["consul.version"] == "":
		return errors.New("node has not found consul")
	case c.Bridge && !hasBridge(node):
		return errors.New("node has no bridge network")
	}
	return c.dockerTried(node)
}

// node is the node that runs jobs.
func (c *Cluster) node(ctx context.Context) (*nomad.Node, error) {
	client, err := c.server()
	if err != nil {
		return nil, err
	}
	q := (&nomad.QueryOptions{}).WithContext(ctx)
	nodes, _, err := client.Nodes().List(q)
	if err != nil {
		return nil, err
	}
	nodes = slices.DeleteFunc(nodes, isFront)
	if len(nodes) != 1 {
		return nil, fmt.Errorf("%d nodes", len(nodes))
	}
	node, _, err := client.Nodes().Info(nodes[0].ID, q)
	return node, err
}

// nomadReadyOrNudged is nomadReady for a new node, and makes that ready sooner. A new
// node is ready from its first heartbeat on, which it sends up to 10 s after it has
// registered, or as soon as the server answers one of its calls. Its call that waits for
// allocations is answered when the node and the table of allocations have changed.
func (c *Cluster) nomadReadyOrNudged(ctx context.Context) error {
	err := c.nomadReady(ctx)
	if !errors.Is(err, errNotReady) {
		return err
	}
	return errors.Join(err, c.nudge(ctx))
}

// nudge changes the node and the table of allocations: purging a job touches the table,
// even if the job has no instance.
func (c *Cluster) nudge(ctx context.Context) error {
	client, err := c.server()
	if err != nil {
		return err
	}
	const name = "wadi-dev-nudge"
	job := nomad.NewServiceJob(name, name, nomad.GlobalRegion, 50)
	job.AddDatacenter("dc1").AddTaskGroup(nomad.NewTaskGroup("none", 0).
		AddTask(nomad.NewTask("none", "raw_exec").SetConfig("command", "true")))
	w := (&nomad.WriteOptions{}).WithContext(ctx)
	if _, _, err := client.Jobs().Register(job, w); err != nil {
		return fmt.Errorf("nudge node: %w", err)
	}
	if _, _, err := client.Jobs().Deregister(name, true, w); err != nil {
		return fmt.Errorf("nudge node: %w", err)
	}
	nodes, _, err := client.Nodes().List((&nomad.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return fmt.Errorf("nudge node: %w", err)
	}
	for _, n := range nodes {
		for _, eligible := range []bool{false, true} {
			if _, err := client.Nodes().ToggleEligibility(n.ID, eligible, w); err != nil {
				return fmt.Errorf("nudge node: %w", err)
			}
		}
	}
	return nil
}

func isFront(n *nomad.NodeListStub) bool { return n.NodePool == frontPool }

func hasBridge(node *nomad.Node) bool {
	if node.Attributes["plugins.cni.version.bridge"] == "" {
		return false
	}
	for _, n := range node.NodeResources.Networks {
		if n.Mode == "bridge" {
			return true
		}
	}
	return false
}
