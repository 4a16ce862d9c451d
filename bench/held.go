package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
)

const (
	heldRequests = 1000
	heldDelay    = 4 * time.Second // Of the app's start: all wait by then.
)

// held sends many requests to one service at zero.
func held(ctx context.Context, b *bench) ([]section, error) {
	s := service{
		name: "held", env: fmt.Sprintf("START_DELAY = %q", heldDelay),
		scale: "initial = 0\n    max = 1\n    window = \"6s\"",
	}
	if err := b.apply(ctx, s); err != nil {
		return nil, err
	}
	if err := pause(ctx, settle); err != nil {
		return nil, err
	}
	before, err := b.memory(ctx)
	if err != nil {
		return nil, err
	}
	crowd := b.crowd(ctx, heldRequests, func(ctx context.Context) error {
		_, err := b.ask(ctx, s, "/")
		return err
	})
	defer crowd.cancel()
	if err := b.waitHeld(ctx, heldRequests, heldDelay); err != nil {
		return nil, err
	}
	raw, err := rss(b.stack.Agent.PID())
	if err != nil {
		return nil, err
	}
	peak, err := b.memory(ctx)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(b.profile(ctx, "held-heap.pprof", "heap"), b.profile(ctx, "held-goroutines.txt", "goroutine?debug=1")); err != nil {
		return nil, err
	}
	crowd.Wait()
	out := section{
		Title:   fmt.Sprintf("%d requests, each on a connection of its own, wait %v for one cold service", heldRequests, heldDelay),
		Columns: []string{"before MiB", "all wait MiB", "KiB a request"},
	}
	each := func(before, after float64) (mb, ma, k float64) {
		return before / (1 << 20), after / (1 << 20), (after - before) / 1024 / heldRequests
	}
	add := func(label string, was, is float64) float64 {
		mb, ma, k := each(was, is)
		out.add(label, mb, ma, k)
		return k
	}
	grown := add("agent's resident memory", before.rss, raw)
	add("… after a garbage collection", before.rss, peak.rss)
	add("heap and stacks in use, after collection", before.heap+before.stacks, peak.heap+peak.stacks)
	add("  heap alone", before.heap, peak.heap)
	add("  stacks alone", before.stacks, peak.stacks)
	out.judge("KiB resident for a waiting request", grown, 20)

	out.note("a server of net/http alone, with a handler that waits, has 16.0 KiB resident and 20.2 KiB in use for each")

	wakes, err := b.wakes(ctx, s.revision())
	if err != nil {
		return []section{out}, err
	}
	out.judge("scale calls from zero", float64(wakes), 1)
	out.judge("requests not answered with 200", float64(heldRequests-crowd.ok.Load()), 0)
	out.note("answered: %d of %d; the last %.0f ms after the first", crowd.ok.Load(), heldRequests, ms(crowd.spread()))
	return []section{out}, b.remove(ctx, s)
}

// memory is the agent's, after a garbage collection.
type memory struct{ rss, heap, stacks float64 }

func (b *bench) memory(ctx context.Context) (m memory, err error) {
	if err := collect(ctx, b.stack.Agent); err != nil {
		return m, err
	}
	if m.rss, err = rss(b.stack.Agent.PID()); err != nil {
		return m, err
	}
	g, err := gauges(ctx, b.stack.Agent)
	m.heap, m.stacks = g["go_memstats_heap_inuse_bytes"], g["go_memstats_stack_inuse_bytes"]
	return m, err
}

// waitHeld waits until so many requests wait in the agent.
func (b *bench) waitHeld(ctx context.Context, n int, within time.Duration) error {
	return harness.Eventually(ctx, within, func() error {
		g, err := gauges(ctx, b.stack.Agent)
		if got := g["wadi_activator_waiting_requests"]; err == nil && got < float64(n) {
			err = fmt.Errorf("%.0f of %d requests wait", got, n)
		}
		return err
	})
}

// wakes counts the scalings of a job to more than zero.
func (b *bench) wakes(ctx context.Context, job string) (int, error) {
	status, _, err := b.stack.Nomad.Jobs().ScaleStatus(job, (&nomad.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return 0, fmt.Errorf("read scalings of %s: %w", job, err)
	}
	n := 0
	for _, e := range status.TaskGroups[wadi.GroupInstance].Events {
		if e.Count != nil && *e.Count > 0 {
			n++
		}
	}
	return n, nil
}

// crowd is many requests at once.
type crowd struct {
	sync.WaitGroup
	cancel context.CancelFunc
	ok     atomic.Int64

	mu          sync.Mutex
	first, last time.Time
}

// crowd starts n requests, each on a connection of its own.
func (b *bench) crowd(ctx context.Context, n int, ask func(context.Context) error) *crowd {
	c := &crowd{}
	ctx, c.cancel = context.WithCancel(ctx)
	for range n {
		c.Go(func() {
			if ask(ctx) == nil {
				c.ok.Add(1)
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.last = time.Now()
			if c.first.IsZero() {
				c.first = c.last
			}
		})
	}
	return c
}

// spread is how long after the first answer the last one came.
func (c *crowd) spread() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last.Sub(c.first)
}
