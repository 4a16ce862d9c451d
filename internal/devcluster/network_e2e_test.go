//go:build e2e

package devcluster_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi/internal/devcluster"
)

// An address that was just freed is not given to the next instance, whatever other
// clusters do meanwhile: for up to a minute the machine knows it by the MAC address of the
// instance before.
func TestCluster_TwoAtOnceReuseNoAddress(t *testing.T) {
	path := []string{hello(t)}
	a, b := start(t, devcluster.Config{Path: path}), start(t, devcluster.Config{Path: path})
	if !a.Bridge {
		t.Skip("no bridge networks: " + a.WhyNot)
	}
	// Without any instance the bridge is down, and the machine forgets the MAC addresses.
	job(t, a, "stays", "bridge")
	job(t, b, "stays", "bridge")
	had := map[string]bool{}
	for round := range 3 {
		for _, c := range []*devcluster.Cluster{a, b} {
			name := fmt.Sprintf("round-%d", round)
			job(t, c, name, "bridge")
			alloc := only(t, c, name)
			ip := alloc.NetworkStatus.Address
			if had[ip] {
				t.Errorf("round %d: address %s is given out again at once", round, ip)
			}
			had[ip] = true
			end(t, c, alloc)
		}
	}
	for _, c := range []*devcluster.Cluster{a, b} {
		if files, _ := filepath.Glob("/run/cni/nomad/" + only(t, c, "stays").NetworkStatus.Address); len(files) > 0 {
			t.Errorf("leases are in the store of every Nomad: %v", files)
		}
	}
}

// only returns the only allocation of a job, when it has an address.
func only(t *testing.T, c *devcluster.Cluster, name string) *api.Allocation {
	t.Helper()
	n, err := c.NomadClient()
	if err != nil {
		t.Fatal(err)
	}
	var alloc *api.Allocation
	eventually(t, "address of "+name, func() error {
		allocs, _, err := n.Jobs().Allocations(name, false, nil)
		if err != nil || len(allocs) != 1 {
			return fmt.Errorf("got %d allocations (%v), want one", len(allocs), err)
		}
		alloc, _, err = n.Allocations().Info(allocs[0].ID, nil)
		if err == nil && (alloc.NetworkStatus == nil || net.ParseIP(alloc.NetworkStatus.Address) == nil) {
			err = errors.New("it has none")
		}
		return err
	})
	return alloc
}

// end purges an allocation's job and waits until its network is gone.
func end(t *testing.T, c *devcluster.Cluster, alloc *api.Allocation) {
	t.Helper()
	n, err := c.NomadClient()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := n.Jobs().Deregister(alloc.JobID, true, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "network of "+alloc.JobID+" is gone", func() error {
		if err := n.System().GarbageCollect(); err != nil {
			return err
		}
		if _, err := os.Stat("/run/netns/" + alloc.ID); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("it is there: %v", err)
		}
		return nil
	})
}
