package control

import (
	"context"
	"iter"
	"maps"
	"time"
)

// A queue that grew is looked at again and again for a while: what it holds is
// measured when the second is over, and averaged when all have told of that second.
const (
	growthFor   = 2500 * time.Millisecond
	growthEvery = 500 * time.Millisecond
)

func (a *Autoscaler) followGrowth(ctx context.Context) {
	growing := map[string]time.Time{} // Until when a revision is looked at.
	tick := time.NewTicker(growthEvery)
	defer tick.Stop()
	for {
		again := tick.C
		if len(growing) == 0 {
			again = nil
		}
		select {
		case <-ctx.Done():
			return
		case <-a.Grown:
		case <-again:
		}
		now := time.Now()
		maps.DeleteFunc(growing, func(_ string, until time.Time) bool { return now.After(until) })
		for _, id := range a.TakeGrown() {
			growing[id] = now.Add(growthFor)
		}
		a.evaluateAll(ctx, a.recordsOf(maps.Keys(growing)))
	}
}

// recordsOf finds those of revisions that there are. It reads ids with mu held.
func (a *Autoscaler) recordsOf(ids iter.Seq[string]) (all []*record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.look()
	for id := range ids {
		if r := a.records[id]; r != nil {
			all = append(all, r)
		}
	}
	return all
}
