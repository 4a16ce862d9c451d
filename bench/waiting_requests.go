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
	waitingCount = 1000
	waitingDelay = 4 * time.Second // The app's start: all requests wait by then.
)

// waitingRequests sends many requests to one service at zero.
func waitingRequests(ctx context.Context, b *bench) ([]section, error) {
	s := service{
		name: "held", env: fmt.Sprintf("START_DELAY = %q", waitingDelay),
		scale: "initial = 0\n    max = 1\n    window = \"6s\"",
	}
	if err := b.apply(ctx, s); err != nil {
		return nil, err
	}
	h, err := b.measureWaiting(ctx, waitingDelay, func(ctx context.Context) error {
		_, err := b.ask(ctx, s, "/")
		return err
	})
	if err != nil {
		return nil, err
	}
	out := h.section(fmt.Sprintf("%d requests, each on a connection of its own, wait %v for one cold service", waitingCount, waitingDelay))
	h.add(&out, "  heap alone", h.before.heap, h.peak.heap)
	h.add(&out, "  stacks alone", h.before.stacks, h.peak.stacks)
	out.judge("KiB resident for a waiting request", h.residentEach(), 20)

	out.note("a server of net/http alone, with a handler that waits, has 16.0 KiB resident and 20.2 KiB in use for each")

	wakes, err := b.wakes(ctx, s.revision())
	if err != nil {
		return []section{out}, err
	}
	out.judge("scale calls from zero", float64(wakes), 1)
	out.judge("requests not answered with 200", float64(waitingCount-h.crowd.ok.Load()), 0)
	out.note("answered: %d of %d; the last %.0f ms after the first", h.crowd.ok.Load(), waitingCount, ms(h.crowd.spread()))
	return []section{out}, b.remove(ctx, s)
}

// waitingMemory is the agent's memory while many requests wait in it.
type waitingMemory struct {
	before, peak memory
	raw          float64 // Resident while all waited, before a garbage collection.
	crowd        *crowd
}

// measureWaiting sends many requests at once, measures when all of them wait, and lets them finish.
func (b *bench) measureWaiting(ctx context.Context, within time.Duration, ask func(context.Context) error) (h waitingMemory, err error) {
	if err := wadi.Sleep(ctx, settle); err != nil {
		return h, err
	}
	if h.before, err = b.memory(ctx); err != nil {
		return h, err
	}
	h.crowd = b.crowd(ctx, waitingCount, ask)
	defer h.crowd.cancel()
	if err := b.waitQueued(ctx, waitingCount, within); err != nil {
		return h, err
	}
	if h.raw, err = rss(b.stack.Agent.PID()); err != nil {
		return h, err
	}
	if h.peak, err = b.memory(ctx); err != nil {
		return h, err
	}
	if err := errors.Join(b.profile(ctx, "held-heap.pprof", "heap"), b.profile(ctx, "held-goroutines.txt", "goroutine?debug=1")); err != nil {
		return h, err
	}
	h.crowd.Wait()
	return h, nil
}

// section is the table of the memory.
func (h waitingMemory) section(title string) section {
	out := section{Title: title, Columns: []string{"before MiB", "all wait MiB", "KiB a request"}}
	h.add(&out, "agent's resident memory", h.before.rss, h.raw)
	h.add(&out, "… after a garbage collection", h.before.rss, h.peak.rss)
	h.add(&out, "heap and stacks in use, after collection", h.before.heap+h.before.stacks, h.peak.heap+h.peak.stacks)
	return out
}

func (h waitingMemory) add(out *section, label string, was, is float64) {
	out.add(label, was/(1<<20), is/(1<<20), each(was, is))
}

// residentEach is a waiting request's resident memory, in KiB.
func (h waitingMemory) residentEach() float64 { return each(h.before.rss, h.raw) }

// each is a request's share of the additional memory, in KiB.
func each(was, is float64) float64 { return (is - was) / 1024 / waitingCount }

// memory is the agent's memory in bytes, after a garbage collection.
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

// waitQueued waits until so many requests wait in the agent.
func (b *bench) waitQueued(ctx context.Context, n int, within time.Duration) error {
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

// spread is the time from the first answer to the last.
func (c *crowd) spread() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last.Sub(c.first)
}
