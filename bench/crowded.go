package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wadi-run/wadi/test/harness"
)

// crowdDelay is the start of an app for which many requests wait: all are there by then.
const crowdDelay = time.Minute

// crowded measures what stays resident in an agent with many connections to its gateway.
func crowded(ctx context.Context, b *bench) ([]section, error) {
	out := section{
		Title:   fmt.Sprintf("resident memory of an agent, %d connections to its gateway", manyConns),
		Columns: []string{"before MB", "then MB", "KiB each"},
	}
	warm := service{name: "crowdidle", scale: "min = 1\n    max = 1"}
	if err := b.apply(ctx, warm); err != nil {
		return nil, err
	}
	if _, err := b.ask(ctx, warm, "/"); err != nil {
		return nil, err
	}
	err := b.crowdedBy(ctx, &out, "idle keep-alive connections", func(w *wire) error {
		return w.fire(shot{head: crowdHead(warm)})
	}, func() error { return nil })
	if err = errors.Join(err, b.remove(ctx, warm)); err != nil {
		return []section{out}, err
	}
	cold := service{
		name: "crowdheld", env: fmt.Sprintf("START_DELAY = %q", crowdDelay), scale: "initial = 0\n    max = 1",
		more: fmt.Sprintf("queue {\n    depth = %d\n    timeout = %q\n  }", manyConns, 2*crowdDelay),
	}
	if err := b.apply(ctx, cold); err != nil {
		return []section{out}, err
	}
	err = b.crowdedBy(ctx, &out, "waiting requests", func(w *wire) error {
		_, err := w.Write([]byte(crowdHead(cold)))
		return err
	}, func() error { return b.waitHeld(ctx, manyConns-spare, crowdDelay) })
	return []section{out}, errors.Join(err, b.remove(ctx, cold))
}

func crowdHead(s service) string {
	return fmt.Sprintf("GET / HTTP/1.1\r\nHost: %s.%s\r\nUser-Agent: bench\r\n\r\n", s.name, harness.Domain)
}

// crowdedBy adds a row about many connections on each of which something was done,
// when all have come to where ready says so.
func (b *bench) crowdedBy(ctx context.Context, out *section, label string, do func(*wire) error, ready func() error) error {
	if err := pause(ctx, settle); err != nil {
		return err
	}
	before, err := b.memory(ctx)
	if err != nil {
		return err
	}
	all, err := many(ctx, b.stack.Agent.Gateway, do)
	defer func() {
		for _, w := range all {
			_ = w.Close()
		}
	}()
	if err == nil && len(all) < manyConns-spare {
		out.note("%s: only %d of the connections were made in %v", label, len(all), manyTimeout)
	}
	if err = errors.Join(err, ready(), pause(ctx, 2*time.Second)); err != nil {
		return fmt.Errorf("%s: %w", label, err)
	}
	after, err := rss(b.stack.Agent.PID())
	m := crowding{before: before.rss, after: after}
	out.add(label, m.values()...)
	return errors.Join(err, b.profile(ctx, "crowd-heap.pprof", "heap"), b.profile(ctx, "crowd-goroutines.txt", "goroutine?debug=1"))
}
