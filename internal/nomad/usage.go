package nomad

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"
)

// Resources are processor and memory, requested or used by a task.
type Resources struct {
	CPU    float64 // MHz.
	Memory float64 // Bytes.
}

// Usage is what a task used lately, as Nomad's client measured it.
type Usage struct {
	Resources
	At time.Time // When it was measured, by the node's clock.
}

// MeasureSetting is the configuration of a Nomad client that makes it report what tasks
// use.
const MeasureSetting = "telemetry { publish_allocation_metrics = true }"

// errNotMeasured says that the task does not run yet, that its driver has no statistics,
// that there are none yet, or that Nomad's client does not measure, which it does only if
// it publishes metrics.
var errNotMeasured = errors.New("nomad has no statistics of the task (its client needs " + MeasureSetting + ")")

// RequestedResources reads what a task of an allocation requests: CPU shares or the share
// of its cores, and its reserved memory (not memory_max).
func (c *Client) RequestedResources(ctx context.Context, namespace, alloc, task string) (Resources, error) {
	var a struct {
		AllocatedResources *struct {
			Tasks map[string]*struct {
				Cpu    struct{ CpuShares int64 }
				Memory struct{ MemoryMB int64 }
			}
		}
	}
	if _, err := c.api().Raw().Query("/v1/allocation/"+url.PathEscape(alloc), &a, c.query(ctx, c.Token(), namespace)); err != nil {
		return Resources{}, fmt.Errorf("read allocation %s: %w", alloc, translate(err))
	}
	if a.AllocatedResources == nil || a.AllocatedResources.Tasks[task] == nil {
		return Resources{}, fmt.Errorf("read allocation %s: task %q has no resources", alloc, task)
	}
	r := a.AllocatedResources.Tasks[task]
	return Resources{CPU: float64(r.Cpu.CpuShares), Memory: float64(r.Memory.MemoryMB) * (1 << 20)}, nil
}

// Usage reads what a task of an allocation uses. Nomad's server forwards the question to
// the allocation's node, which measures once per second.
//
// Memory is the resident set. Where that is not measured, as with cgroup v2, it is the
// cgroup's memory without the page cache, which the kernel gives back.
func (c *Client) Usage(ctx context.Context, namespace, alloc, task string) (Usage, error) {
	var s struct {
		Tasks map[string]*struct {
			Timestamp     int64
			ResourceUsage *struct {
				MemoryStats *memoryStats
				CpuStats    *cpuStats
			}
		}
	}
	path := "/v1/client/allocation/" + url.PathEscape(alloc) + "/stats?" + url.Values{"task": {task}}.Encode()
	if _, err := c.api().Raw().Query(path, &s, c.query(ctx, c.Token(), namespace)); err != nil {
		return Usage{}, fmt.Errorf("read statistics of %s: %w", alloc, translate(err))
	}
	t := s.Tasks[task]
	// A driver that has not measured yet returns zeros, with the zero time of its
	// language: long before 1970.
	if t == nil || t.Timestamp <= 0 || t.ResourceUsage == nil {
		return Usage{}, fmt.Errorf("read statistics of %s: %w", alloc, errNotMeasured)
	}
	ticks, timed := t.ResourceUsage.CpuStats.ticks()
	bytes, measured := t.ResourceUsage.MemoryStats.bytes()
	if !timed || !measured {
		return Usage{}, fmt.Errorf("read statistics of %s: %w", alloc, errNotMeasured)
	}
	return Usage{Resources: Resources{CPU: ticks, Memory: bytes}, At: time.Unix(0, t.Timestamp)}, nil
}

type cpuStats struct {
	TotalTicks float64
	Measured   []string
}

// ticks are MHz. An idle task uses none; so does a task without measurements.
func (c *cpuStats) ticks() (mhz float64, known bool) {
	if c == nil || c.TotalTicks < 0 || c.TotalTicks == 0 && !slices.Contains(c.Measured, "Percent") {
		return 0, false
	}
	return c.TotalTicks, true
}

type memoryStats struct{ RSS, Cache, Usage uint64 }

// bytes is known if it is not zero: no process uses no memory.
func (m *memoryStats) bytes() (bytes float64, known bool) {
	switch {
	case m == nil:
		return 0, false
	case m.RSS > 0:
		return float64(m.RSS), true
	}
	return float64(m.Usage - min(m.Usage, m.Cache)), m.Usage > m.Cache
}
