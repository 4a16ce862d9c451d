package survey

import (
	"context"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
)

const (
	// MaxClocks is how many nodes' clocks are read.
	MaxClocks = 16
	// clockPause is between two readings of a node. Its client measures each second, unless
	// it is configured otherwise.
	clockPause = 1200 * time.Millisecond
)

// NodeClocks reads the clocks of the first MaxClocks nodes, by ID: each measures its machine
// once a second and notes the time. It is read twice, so that a measurement which is old is
// not taken for a clock that is behind. Nodes that can't be read are left out.
func NodeClocks(ctx context.Context, r Reader, nodes []Node) map[string]Offset {
	out := map[string]Offset{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, n := range nodes[:min(len(nodes), MaxClocks)] {
		wg.Go(func() {
			first, _ := sampleTime(ctx, r, n.ID)
			if wadi.Sleep(ctx, clockPause) != nil {
				return
			}
			began := time.Now()
			second, ok := sampleTime(ctx, r, n.ID)
			if !ok || first.IsZero() {
				return
			}
			offset := offsetOfSample(second, began, time.Now(), 2*second.Sub(first))
			if !second.After(first) { // It measures seldom: only a clock that is ahead is seen.
				offset.High = max(offset.Low, 0)
			}
			mu.Lock()
			defer mu.Unlock()
			out[n.ID] = offset
		})
	}
	wg.Wait()
	return out
}

// sampleTime is when a node measured last, by its clock.
func sampleTime(ctx context.Context, r Reader, node string) (at time.Time, ok bool) {
	var s struct{ Timestamp int64 }
	_, err := r.Read(ctx, "/v1/client/stats?"+url.Values{"node_id": {node}}.Encode(), &s)
	if err != nil || s.Timestamp <= 0 {
		return time.Time{}, false
	}
	return time.Unix(0, s.Timestamp), true
}

// Wrong are the IDs of the clocks that differ by more than tolerance, sorted.
func Wrong(clocks map[string]Offset, tolerance time.Duration) (out []string) {
	for id, o := range clocks {
		if o.Beyond(tolerance) != 0 {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}
