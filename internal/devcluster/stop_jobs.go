package devcluster

import (
	"context"
	"fmt"
	"os"
	"time"

	nomad "github.com/hashicorp/nomad/api"
)

// endWithin bounds how long allocations may take to end: a service in the mesh drains for two
// seconds at least, and removing a container and its network takes another; on a busy machine
// that was seen to take more than ten.
const endWithin = 20 * time.Second

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
	// A purged job has no allocations in the list, so they are noted before.
	if err := c.noteAllocations(ctx, client); err != nil {
		return err
	}
	if err := purgeJobs(ctx, client); err != nil {
		return err
	}
	// The garbage collection is what makes the client remove networks and mounts of those
	// that had ended before. It ends the others by itself.
	if err := client.System().GarbageCollect(); err != nil {
		return fmt.Errorf("collect garbage: %w", err)
	}
	ctx, cancel = context.WithTimeout(ctx, endWithin)
	defer cancel()
	return poll(ctx, c.allocationsRemoved)
}

func allNamespaces(ctx context.Context) *nomad.QueryOptions {
	return (&nomad.QueryOptions{Namespace: nomad.AllNamespacesNamespace}).WithContext(ctx)
}

func purgeJobs(ctx context.Context, client *nomad.Client) error {
	jobs, _, err := client.Jobs().List(allNamespaces(ctx))
	if err != nil {
		return fmt.Errorf("list jobs: %w", err)
	}
	for _, j := range jobs {
		w := (&nomad.WriteOptions{Namespace: j.Namespace}).WithContext(ctx)
		if _, _, err := client.Jobs().Deregister(j.ID, true, w); err != nil {
			return fmt.Errorf("purge job %s: %w", j.ID, err)
		}
	}
	return nil
}

// noteAllocations gives the slot the IDs of all allocations.
func (c *Cluster) noteAllocations(ctx context.Context, client *nomad.Client) error {
	allocs, _, err := client.Allocations().List(allNamespaces(ctx))
	if err != nil {
		return fmt.Errorf("list allocations: %w", err)
	}
	c.slot.Allocs = nil
	for _, a := range allocs {
		c.slot.Allocs = append(c.slot.Allocs, a.ID)
	}
	return nil
}

// allocationsRemoved is an error while the client has directories of allocations.
func (c *Cluster) allocationsRemoved() error {
	dirs, err := os.ReadDir(c.file("n/alloc"))
	if err == nil && len(dirs) > 0 {
		err = fmt.Errorf("%d allocations are not collected", len(dirs))
	}
	return err
}

// poll calls ask until it returns nil or ctx ends.
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
