package measure

import (
	"context"
	"fmt"
	"sync"

	"github.com/wadi-run/wadi/internal/nomad"
	"github.com/wadi-run/wadi/internal/usage"
	"github.com/wadi-run/wadi/scheduler"
)

// wholeUsage is the known share of a window from which the window counts as known: there
// are seconds between two readings.
const wholeUsage = 0.99

// enoughUsage is the known share of the time since the instances started from which the
// mean counts as a lower bound.
const enoughUsage = 0.5

// usageAverages turns averages of a resource's usage into those of a load; ok is false
// if none is known.
func usageAverages(a usage.Averages, ok bool) scheduler.Averages {
	if !ok {
		return scheduler.Averages{}
	}
	return scheduler.Averages{
		Stable: a.Stable.Mean, Panic: a.Panic.Mean, Coverage: a.Stable.Coverage, PanicCoverage: a.Panic.Coverage,
		Partial: a.Stable.Coverage < wholeUsage || a.Panic.Coverage < wholeUsage,
		AtLeast: a.Stable.Counted >= enoughUsage && a.Panic.Counted >= enoughUsage, End: a.End,
	}
}

// usageReader reads from Nomad what share of its resources an instance uses. The
// resources of an allocation never change, so they are read once.
type usageReader struct {
	nomad     *nomad.Client
	mu        sync.Mutex
	requested map[string]nomad.Resources // By allocation.
}

// Read implements [usage.Reader].
func (u *usageReader) Read(ctx context.Context, in usage.Instance) (usage.Reading, error) {
	requested, err := u.resources(ctx, in)
	if err != nil {
		return usage.Reading{}, err
	}
	got, err := u.nomad.Usage(ctx, in.Namespace, in.ID, in.Task)
	if err != nil {
		return usage.Reading{}, err
	}
	if requested.CPU <= 0 || requested.Memory <= 0 { // Nomad gives every task both.
		return usage.Reading{}, fmt.Errorf("allocation %s: the resources that task %q requested are not known", in.ID, in.Task)
	}
	return usage.Reading{CPU: 100 * got.CPU / requested.CPU, Memory: 100 * got.Memory / requested.Memory, At: got.At}, nil
}

func (u *usageReader) resources(ctx context.Context, in usage.Instance) (nomad.Resources, error) {
	u.mu.Lock()
	r, ok := u.requested[in.ID]
	u.mu.Unlock()
	if ok {
		return r, nil
	}
	r, err := u.nomad.RequestedResources(ctx, in.Namespace, in.ID, in.Task)
	if err != nil {
		return r, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.requested == nil {
		u.requested = map[string]nomad.Resources{}
	}
	u.requested[in.ID] = r
	return r, nil
}

// Forget implements [usage.Reader].
func (u *usageReader) Forget(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.requested, id)
}
