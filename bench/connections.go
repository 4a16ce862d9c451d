package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
)

// waitingInCrowd is how many requests wait for one revision: fewer than four fifths of the
// agent's waiting requests, which is the most that one revision may have (package
// activator).
const waitingInCrowd = 7500

// crowdDelay is how long an app with many waiting requests takes to start: all of them
// wait by then.
const crowdDelay = time.Minute

// manyConnections measures an agent's resident memory with many connections to its gateway.
func manyConnections(ctx context.Context, b *bench) ([]section, error) {
	out := section{
		Title:   "resident memory of an agent, many connections to its gateway",
		Columns: []string{"before MB", "then MB", "KiB each"},
	}
	warm := service{name: "crowdidle", scale: "min = 1\n    max = 1"}
	if err := b.apply(ctx, warm); err != nil {
		return nil, err
	}
	if _, err := b.ask(ctx, warm, "/"); err != nil {
		return nil, err
	}
	err := b.addConnectionsRow(ctx, &out, fmt.Sprintf("%d idle keep-alive connections", manyConns), manyConns, func(w *wire) error {
		return w.fire(shot{head: crowdHead(warm)})
	}, func() error { return nil })
	if err = errors.Join(err, b.remove(ctx, warm), b.restartAgent(ctx)); err != nil {
		return []section{out}, err
	}
	cold := service{
		name: "crowdheld", env: fmt.Sprintf("START_DELAY = %q", crowdDelay), scale: "initial = 0\n    max = 1",
		more: fmt.Sprintf("queue {\n    depth = %d\n    timeout = %q\n  }", waitingInCrowd, 2*crowdDelay),
	}
	if err := b.apply(ctx, cold); err != nil {
		return []section{out}, err
	}
	err = b.addConnectionsRow(ctx, &out, fmt.Sprintf("%d requests that wait", waitingInCrowd), waitingInCrowd, func(w *wire) error {
		_, err := w.Write([]byte(crowdHead(cold)))
		return err
	}, func() error { return b.waitQueued(ctx, waitingInCrowd-spare, crowdDelay) })
	return []section{out}, errors.Join(err, b.remove(ctx, cold))
}

// restartAgent restarts the agent: a process keeps the memory of its peak.
func (b *bench) restartAgent(ctx context.Context) error {
	a := b.stack.Agent
	if err := a.Kill(); err != nil {
		return err
	}
	return errors.Join(a.Start(ctx), a.WaitLeader(ctx))
}

func crowdHead(s service) string {
	return fmt.Sprintf("GET / HTTP/1.1\r\nHost: %s.%s\r\nUser-Agent: bench\r\n\r\n", s.name, harness.Domain)
}

// addConnectionsRow adds a row about n connections: do runs on each, and the memory is read when
// ready returns nil.
func (b *bench) addConnectionsRow(ctx context.Context, out *section, label string, n int, do func(*wire) error, ready func() error) error {
	if err := wadi.Sleep(ctx, settle); err != nil {
		return err
	}
	before, err := b.memory(ctx)
	if err != nil {
		return err
	}
	all, err := many(ctx, b.stack.Agent.Gateway, n, do)
	defer func() {
		for _, w := range all {
			_ = w.Close()
		}
	}()
	if err == nil && len(all) < n-spare {
		out.note("%s: only %d of the connections were made in %v", label, len(all), manyTimeout)
	}
	if err = errors.Join(err, ready(), wadi.Sleep(ctx, 2*time.Second)); err != nil {
		return fmt.Errorf("%s: %w", label, err)
	}
	after, err := rss(b.stack.Agent.PID())
	out.add(label, before.rss/1e6, after/1e6, (after-before.rss)/1024/float64(n))
	return errors.Join(err, b.profile(ctx, "crowd-heap.pprof", "heap"), b.profile(ctx, "crowd-goroutines.txt", "goroutine?debug=1"))
}
