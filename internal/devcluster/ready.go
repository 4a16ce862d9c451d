package devcluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	nomad "github.com/hashicorp/nomad/api"
)

// runMeta is a key of the node's metadata; "unique." keeps it out of the node's class.
const runMeta = "unique.wadi-dev-run"

// errNotReady: the node has registered, and has not sent a heartbeat.
var errNotReady = errors.New("registered, and not ready")

// keyringReady: only with a keyring does the server take a node's registration.
func (c *Cluster) keyringReady(ctx context.Context) error {
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

// snapshot has the server write one to its disk. A server that restarts has
// the keys of a snapshot before it is elected; those of its log only a moment
// after, in which it denies its own node's registration, and the node tries
// again only 15 to 30 s later.
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

// nomadReady: a leader, and a node that runs raw_exec jobs, knows Consul, and
// has bridge networks where they are wanted.
func (c *Cluster) nomadReady(ctx context.Context) error {
	client, err := c.server()
	if err != nil {
		return err
	}
	q := (&nomad.QueryOptions{}).WithContext(ctx)
	if leader, err := client.Status().Leader(); err != nil || leader == "" {
		return fmt.Errorf("no leader yet: %w", err)
	}
	nodes, _, err := client.Nodes().List(q)
	if err != nil {
		return err
	}
	nodes = slices.DeleteFunc(nodes, isFront)
	if len(nodes) != 1 {
		return fmt.Errorf("%d nodes", len(nodes))
	}
	node, _, err := client.Nodes().Info(nodes[0].ID, q)
	if err != nil {
		return err
	}
	driver := node.Drivers["raw_exec"]
	switch {
	case node.Meta[runMeta] != strconv.Itoa(c.Nomad.run()):
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
	return nil
}

// nomadReadyOrNudged is for a new node. That is ready from its first heartbeat
// on, which it sends up to 10 s after it has registered, or as soon as a call
// of its own to the server is answered. The call that waits for allocations
// is, when the node and the table of allocations have changed.
func (c *Cluster) nomadReadyOrNudged(ctx context.Context) error {
	err := c.nomadReady(ctx)
	if !errors.Is(err, errNotReady) {
		return err
	}
	return errors.Join(err, c.nudge(ctx))
}

// nudge changes both: purging a job, of no instance here, touches the table.
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

// stopJobs purges every job and waits until no allocation runs any more, and
// Nomad has removed their directories and networks.
func (c *Cluster) stopJobs(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.grace)
	defer cancel()
	if err := c.Nomad.Resume(); err != nil {
		return err
	}
	client, err := c.server()
	if err != nil {
		return err
	}
	q := (&nomad.QueryOptions{Namespace: nomad.AllNamespacesNamespace}).WithContext(ctx)
	jobs, _, err := client.Jobs().List(q)
	if err != nil {
		return fmt.Errorf("list jobs: %w", err)
	}
	for _, j := range jobs {
		w := (&nomad.WriteOptions{Namespace: j.Namespace}).WithContext(ctx)
		if _, _, err := client.Jobs().Deregister(j.ID, true, w); err != nil {
			return fmt.Errorf("purge job %s: %w", j.ID, err)
		}
	}
	err = poll(ctx, func() error {
		allocs, _, err := client.Allocations().List(q)
		if err != nil {
			return fmt.Errorf("list allocations: %w", err)
		}
		c.slot.allocs = nil
		live := 0
		for _, a := range allocs {
			c.slot.allocs = append(c.slot.allocs, a.ID)
			switch a.ClientStatus {
			case nomad.AllocClientStatusComplete, nomad.AllocClientStatusFailed, nomad.AllocClientStatusLost:
			default:
				live++
			}
		}
		if live > 0 {
			return fmt.Errorf("%d allocations have not ended", live)
		}
		return nil
	})
	if err != nil {
		return err
	}
	// Collecting them is what makes the client take down networks and mounts.
	if err := client.System().GarbageCollect(); err != nil {
		return fmt.Errorf("collect garbage: %w", err)
	}
	ctx, cancel = context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return poll(ctx, func() error {
		dirs, err := os.ReadDir(filepath.Join(c.Dir, "n", "alloc"))
		if err == nil && len(dirs) > 0 {
			err = fmt.Errorf("%d allocations are not collected", len(dirs))
		}
		return err
	})
}

// poll asks until the answer is nil or ctx ends.
func poll(ctx context.Context, ask func() error) error {
	t := time.NewTicker(25 * time.Millisecond)
	defer t.Stop()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-t.C:
		}
	}
}
