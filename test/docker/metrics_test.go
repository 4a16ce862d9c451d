//go:build e2e

package docker_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// TestMetrics compares the memory and processor use that Wadi scales a container by with
// what the app knows about itself.
func TestMetrics(t *testing.T) {
	t.Parallel()
	const askedMHz = 20
	deploy(t, service{
		name: "measured", memory: 256,
		more: `scale {
    window = "12s"
    min    = 1
    max    = 1
    metric "memory" {}
    metric "cpu" {}
  }
`})
	ask(t, "measured", "/take?mb=128")
	worked := work(t, "measured")

	nodes, _, err := stack.Nomad.Nodes().List(nil)
	harnesstest.Must(t, "list nodes", err)
	node, _, err := stack.Nomad.Nodes().Info(nodes[0].ID, nil)
	harnesstest.Must(t, "read the node", err)
	total, err := strconv.ParseFloat(node.Attributes["cpu.totalcompute"], 64)
	harnesstest.Must(t, "read the node's MHz", err)
	cores, err := strconv.ParseFloat(node.Attributes["cpu.numcores"], 64)
	harnesstest.Must(t, "read the node's cores", err)
	mhz := total / cores
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		memory, cpu, err := readings(t.Context(), "measured")
		if err != nil {
			return err
		}
		wantCPU := worked() * mhz / askedMHz * 100
		if wantCPU == 0 {
			return errors.New("the app has not worked for long")
		}
		t.Logf("memory %.0f %%, cpu %.0f %%, the app says %.0f %%", memory, cpu, wantCPU)
		if memory < 50 || memory > 65 {
			return fmt.Errorf("memory is %.0f %% of 256 MB, though 128 MB and a Go program are in it", memory)
		}
		if math.Abs(cpu-wantCPU) > 0.25*wantCPU {
			return fmt.Errorf("cpu is %.0f %% of %d MHz, the app says %.0f", cpu, askedMHz, wantCPU)
		}
		return nil
	})
}

// work makes an app work a third of the time until the test ends. The result is the
// processors that the app used on average over the last 12 s; 0 before there are as many.
func work(t *testing.T, name string) func() float64 {
	load := harnesstest.StartWorkers(t, 1, 100*time.Millisecond, harnesstest.Getting(stack.Client(t), harnesstest.URL(name, "/burn?for=50ms")))
	t.Cleanup(func() { load.Stop() })
	type point struct {
		at   time.Time
		used float64
	}
	var points []point
	return func() float64 {
		used, err := strconv.ParseFloat(ask(t, name, "/used"), 64)
		harnesstest.Must(t, "read the use", err)
		now := point{time.Now(), used}
		points = append(points, now)
		for now.at.Sub(points[0].at) > 12*time.Second {
			points = points[1:]
		}
		if d := now.at.Sub(points[0].at).Seconds(); d > 10 {
			return (now.used - points[0].used) / d
		}
		return 0
	}
}

// readings are the averages of the last decision about a service, once its window is full.
func readings(ctx context.Context, name string) (memory, cpu float64, err error) {
	decisions, err := stack.Agent.Client.Decisions(ctx, name)
	if err != nil {
		return 0, 0, err
	}
	if len(decisions) == 0 {
		return 0, 0, errors.New("no decision yet")
	}
	d := decisions[len(decisions)-1]
	for _, r := range d.Readings {
		if !r.Valid || r.Coverage < 1 {
			return 0, 0, fmt.Errorf("the window is not full yet: %+v", d)
		}
		switch r.Metric {
		case wadi.Memory:
			memory = r.Stable
		case wadi.CPU:
			cpu = r.Stable
		}
	}
	return memory, cpu, nil
}
