package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/wadi-run/wadi"
)

const (
	manyConns   = 10000
	manySources = 10 // Source addresses: one address may have too few free ports.
	atOnceDials = 64
	manyTimeout = 30 * time.Second
	spare       = 10 // Files that a process may have closed meanwhile.
)

// memory measures resident memory when idle, with many idle connections, and with many
// waiting requests.
func (p *plane) memory(ctx context.Context) ([]section, error) {
	out := section{
		Title:   fmt.Sprintf("resident memory, %d connections", manyConns),
		Columns: []string{"idle MB", "then MB", "KiB each"},
	}
	idle := shot{head: "GET / HTTP/1.1\r\nHost: bench.example\r\n\r\n"}
	for _, label := range []string{labelHAProxy, labelReverse, labelQueue} {
		m, err := p.measureConnections(ctx, label, func(w *wire) error { return w.fire(idle) })
		if missing := (*missingError)(nil); errors.As(err, &missing) {
			out.note("%s: %s", label, missing)
			continue
		}
		if err != nil {
			return []section{out}, err
		}
		out.add("idle keep-alive connections, "+label, m.values()...)
		m.incomplete(&out, label)
		if label == labelQueue {
			out.judge("MB resident, idle queue-proxy", m.before/1e6, 12)
			out.judge("MB resident, queue-proxy with idle connections", m.after/1e6, 150)
		}
	}
	hold := "GET /hold HTTP/1.1\r\nHost: bench.example\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
	m, err := p.measureConnections(ctx, labelQueue, func(w *wire) error {
		_, err := w.Write([]byte(hold))
		return err
	}, "WADI_CONCURRENCY_LIMIT=1", fmt.Sprintf("WADI_QUEUE_DEPTH=%d", manyConns))
	if err != nil {
		return []section{out}, err
	}
	out.add("waiting requests, queue-proxy, concurrency.limit = 1", m.values()...)
	m.incomplete(&out, labelQueue)
	out.judge("MB resident, queue-proxy with waiting requests", m.after/1e6, 200)
	return []section{out}, nil
}

// connectionMemory is the memory that many connections take.
type connectionMemory struct {
	before, after float64 // Bytes resident.
	accepted      int     // Accepted connections.
}

func (c connectionMemory) values() []float64 {
	return []float64{c.before / 1e6, c.after / 1e6, (c.after - c.before) / 1024 / manyConns}
}

func (c connectionMemory) incomplete(s *section, label string) {
	if c.accepted < manyConns-spare {
		s.note("%s: only %d of the connections were accepted", label, c.accepted)
	}
}

// measureConnections starts a contender, and runs do on many connections to it.
func (p *plane) measureConnections(ctx context.Context, label string, do func(*wire) error, env ...string) (m connectionMemory, err error) {
	c, err := p.start(ctx, label, env...)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	if err := wadi.Sleep(ctx, 2*time.Second); err != nil {
		return m, err
	}
	if m.before, err = c.rss(); err != nil {
		return m, err
	}
	before, err := c.files()
	if err != nil {
		return m, err
	}
	all, err := many(ctx, c.addr, manyConns, do)
	defer func() {
		for _, w := range all {
			_ = w.Close()
		}
	}()
	if err != nil {
		return m, fmt.Errorf("%s: %w", label, err)
	}
	for until := time.Now().Add(manyTimeout); ; {
		n, err := c.files()
		if err != nil {
			return m, err
		}
		if m.accepted = n - before; m.accepted >= manyConns-spare || time.Now().After(until) {
			break
		}
		if err := wadi.Sleep(ctx, 100*time.Millisecond); err != nil {
			return m, err
		}
	}
	m.accepted = min(m.accepted, manyConns)
	if err := wadi.Sleep(ctx, 2*time.Second); err != nil { // Until the last requests are read.
		return m, err
	}
	m.after, err = c.rss()
	return m, err
}

// many opens n connections and runs do on each. Connections that are not done in time are
// left open.
func many(ctx context.Context, addr string, n int, do func(*wire) error) ([]*wire, error) {
	var mu sync.Mutex
	var out []*wire
	var errs []error
	next := make(chan int)
	stop := time.Now().Add(manyTimeout)
	ctx, cancel := context.WithDeadline(ctx, stop)
	defer cancel()
	var all sync.WaitGroup
	for range atOnceDials {
		all.Go(func() {
			for i := range next {
				w, err := dialWire(ctx, addr, fmt.Sprintf("127.0.0.%d", 2+i%manySources))
				if err == nil {
					err = errors.Join(w.SetDeadline(stop), do(w))
				}
				mu.Lock()
				if w != nil {
					out = append(out, w)
				}
				if err != nil && time.Now().Before(stop) {
					errs = append(errs, err)
				}
				mu.Unlock()
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		next <- i
	}
	close(next)
	all.Wait()
	if len(errs) > 0 {
		return out, fmt.Errorf("%d of %d connections failed, the first: %w", len(errs), n, errs[0])
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return out, ctx.Err()
	}
	return out, nil
}

// rss is the resident memory of the process and its workers.
func (c *contender) rss() (sum float64, err error) {
	for _, pid := range c.pids {
		v, err := rss(pid)
		if err != nil {
			return 0, err
		}
		sum += v
	}
	return sum, nil
}

// files is how many files the process and its workers have open.
func (c *contender) files() (n int, err error) {
	for _, pid := range c.pids {
		all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			return 0, fmt.Errorf("count open files: %w", err)
		}
		n += len(all)
	}
	return n, nil
}
