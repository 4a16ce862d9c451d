package control

import (
	"context"
	"iter"
	"maps"
	"time"
)

// Backlog is the set of revisions whose queues have grown since they were last taken.
type Backlog interface {
	Changed() <-chan struct{} // Signals that there are some.
	Take() []string
}

// A revision whose queue grew is evaluated several times: the longer queue is measured
// when the second is over, and averaged when all sources have reported that second.
const (
	backlogFor   = 2500 * time.Millisecond
	backlogEvery = 500 * time.Millisecond
)

// followBacklog evaluates revisions whose queues grow, until ctx ends.
func (a *Autoscaler) followBacklog(ctx context.Context) {
	if a.Backlog == nil {
		return
	}
	backlogged := map[string]time.Time{} // Until when a revision is evaluated.
	tick := time.NewTicker(backlogEvery)
	defer tick.Stop()
	for {
		again := tick.C
		if len(backlogged) == 0 {
			again = nil
		}
		select {
		case <-ctx.Done():
			return
		case <-a.Backlog.Changed():
		case <-again:
		}
		now := time.Now()
		maps.DeleteFunc(backlogged, func(_ string, until time.Time) bool { return now.After(until) })
		for _, id := range a.Backlog.Take() {
			backlogged[id] = now.Add(backlogFor)
		}
		a.evaluateAll(ctx, a.recordsOf(maps.Keys(backlogged)))
	}
}

// recordsOf are the records of revisions, as far as there are any. It reads ids with mu held.
func (a *Autoscaler) recordsOf(ids iter.Seq[string]) (all []*record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refresh()
	for id := range ids {
		if r := a.records[id]; r != nil {
			all = append(all, r)
		}
	}
	return all
}
