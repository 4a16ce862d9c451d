//go:build e2e

package docker_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wadi-run/wadi/internal/toolchain"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// TestStartsAndStops starts and stops two hundred instances of services in every kind of
// network. Nothing of them is left on the machine. It is not parallel: it counts what all
// make.
func TestStartsAndStops(t *testing.T) {
	before := left(t)
	began, started := time.Now(), 0
	var wg sync.WaitGroup
	for _, c := range []struct {
		service
		instances, rounds int
	}{
		// Not more at once: other tests run beside these.
		{service{name: "churn-host-a", network: "host"}, 8, 10},
		{service{name: "churn-host-b", network: "host"}, 8, 10},
		{service{name: "churn-bridge"}, 5, 6},
		{service{name: "churn-mesh", mesh: "envoy"}, 5, 2},
	} {
		c.memory, c.task = 32, "logs {\n disabled = true\n }\n" // Two processes less for each.
		c.image, c.more = "hello", fmt.Sprintf("scale {\n    initial = 0\n    max     = %d\n  }\n", c.instances)
		if !stack.Cluster.Bridge && c.network != "host" {
			continue
		}
		started += c.instances * c.rounds
		wg.Go(func() {
			sub, err := stack.Agent.Submit(t.Context(), c.String())
			if err == nil {
				err = stack.Agent.WaitReady(t.Context(), c.name, sub.Services[0].Generation)
			}
			for range c.rounds {
				if err == nil {
					err = upAndDown(t, c.name, c.instances)
				}
			}
			if err == nil {
				err = stack.Agent.Delete(t.Context(), c.name)
			}
			if err != nil {
				t.Errorf("%s: %v\n%s", c.name, err, stack.TasksOf(c.name))
			}
		})
	}
	wg.Wait()
	t.Logf("%d starts and stops took %v", started, time.Since(began).Round(time.Second))
	left(t) // It notes the allocations, which Nomad forgets now.
	// Nomad keeps the folders of ended allocations, with their mounts, until it collects them.
	harnesstest.Must(t, "collect garbage", stack.Nomad.System().GarbageCollect())
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		after := left(t)
		var more []string
		for _, what := range slices.Sorted(maps.Keys(after)) {
			if n := len(after[what]) - len(before[what]); n > 0 {
				more = append(more, fmt.Sprintf("%d %s, such as %q", n, what, after[what][len(after[what])-1]))
			}
		}
		if len(more) > 0 {
			return fmt.Errorf("left: %s", strings.Join(more, "; "))
		}
		return nil
	})
}

// upAndDown sets a service to n instances, waits until they run, and sets it to none.
func upAndDown(t *testing.T, name string, n int) error {
	ctx, revision := t.Context(), name+"-00001"
	if _, err := stack.Agent.Client.Override(ctx, name, revision, n, time.Hour); err != nil {
		return err
	}
	err := harness.Eventually(ctx, 5*time.Minute, func() error {
		running, err := stack.Running(ctx, revision)
		if err == nil && running < n {
			err = fmt.Errorf("%d of %d run", running, n)
		}
		return err
	})
	if err != nil {
		return err
	}
	if _, err := stack.Agent.Client.Override(ctx, name, revision, 0, time.Hour); err != nil {
		return err
	}
	return stack.WaitGone(ctx, revision, 5*time.Minute)
}

// left is what instances make on a machine, and what has to go with them.
func left(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for what, args := range map[string][]string{
		"containers":      {"ps", "-aq", "--no-trunc"},
		"docker networks": {"network", "ls", "-q"},
	} {
		out, err := engine.Docker(t.Context(), args...)
		harnesstest.Must(t, "list "+what, err)
		found[what] = strings.Fields(out)
	}
	ports, err := os.ReadDir("/sys/class/net/" + stack.Cluster.BridgeIF + "/brif")
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, p := range ports {
		found["veths"] = append(found["veths"], p.Name())
	}
	namespaces, err := os.ReadDir(filepath.Join(engine.Dir, "exec", "netns"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, n := range namespaces {
		if n.Name() != "default" { // The host's, which the engine has until it ends.
			found["network namespaces"] = append(found["network namespaces"], n.Name())
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	harnesstest.Must(t, "list mounts", err)
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, engine.Dir) && !strings.Contains(line, "netns/default ") || strings.Contains(line, stack.Cluster.Dir) {
			found["mounts"] = append(found["mounts"], line)
		}
	}
	rules, err := exec.CommandContext(t.Context(), toolchain.IPTables(), "--table", "nat", "--list-rules").Output()
	harnesstest.Must(t, "list rules", err)
	allocs, _, err := stack.Nomad.Allocations().List(nil)
	harnesstest.Must(t, "list allocations", err)
	for _, a := range allocs {
		allocations[a.ID] = true
	}
	for line := range strings.Lines(string(rules)) {
		for id := range allocations {
			if strings.Contains(line, id) {
				found["firewall rules"] = append(found["firewall rules"], line)
			}
		}
	}
	return found
}

// allocations are the IDs of all that Nomad has had. Rules name them.
var allocations = map[string]bool{}
