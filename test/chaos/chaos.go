//go:build e2e

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/wadi-run/wadi/test/matrix"
)

// startTimeout bounds the start of a world.
const startTimeout = 10 * time.Minute

// chaos is one run.
type chaos struct {
	options
	out    io.Writer
	faults map[string]matrix.Fault // By name.
	done   []step
	sent   int
	failed int // Of those sent; a fault allows it.
}

// sequence is the seed's, of the faults that a world can have.
func (c *chaos) sequence(mesh bool) *sequence {
	var all []kind
	for _, f := range matrix.Faults() {
		if !f.Mesh || mesh {
			c.faults[f.Name] = f
			group := f.Group
			if group == matrix.GroupNetwork {
				group = matrix.GroupResources // See matrix.Both.
			}
			all = append(all, kind{f.Name, group})
		}
	}
	return newSequence(c.seed, all)
}

func (c *chaos) printSteps(n int) {
	s := c.sequence(true)
	for i := range n {
		fmt.Fprintf(c.out, "%4d %v\n", i+1, s.next())
	}
}

// run breaks things until the time is up, or ctx ends, or something fails.
func (c *chaos) run(ctx context.Context) (err error) {
	w, err := c.start(ctx)
	if err != nil {
		return err
	}
	s, began := c.sequence(w.Mesh), time.Now()
	for err == nil && ctx.Err() == nil && time.Since(began) < c.length {
		next := s.next()
		err = c.step(ctx, w, next, time.Since(began))
	}
	interrupted := ctx.Err() != nil
	left := stop(ctx, w)
	fmt.Fprintf(c.out, "chaos: seed %d: %d steps in %v, %d requests, %d of them failed as was allowed\n",
		c.seed, len(c.done), time.Since(began).Round(time.Second), c.sent, c.failed)
	switch {
	case interrupted:
		return errors.Join(errors.New("interrupted"), left)
	case err != nil:
		fmt.Fprintf(c.out, "chaos: step %d: %v\n", len(c.done), err) // Before the search, which takes long.
		return errors.Join(fmt.Errorf("seed %d failed at step %d", c.seed, len(c.done)), c.search(ctx), left)
	case left != nil:
		return fmt.Errorf("seed %d: at the end: %w", c.seed, left)
	}
	fmt.Fprintln(c.out, "chaos: every invariant held, and nothing is left")
	return nil
}

func (c *chaos) start(ctx context.Context) (*matrix.World, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return matrix.Start(ctx, matrix.Options{Bin: c.bin})
}

// stop removes a world, and says what is left of it.
func stop(ctx context.Context, w *matrix.World) error {
	return errors.Join(w.Stop(context.WithoutCancel(ctx)), noMounts(w.Dir))
}

// noMounts is an error if something is mounted below a folder.
func noMounts(dir string) error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], dir+"/") {
			return fmt.Errorf("%s is still mounted", f[1])
		}
	}
	return nil
}

// fault is what a step breaks.
func (c *chaos) fault(s step) matrix.Fault {
	if len(s) == 2 {
		return matrix.Both(c.faults[s[0]], c.faults[s[1]])
	}
	return c.faults[s[0]]
}

// step breaks what a step says, and prints what came of it.
func (c *chaos) step(ctx context.Context, w *matrix.World, s step, at time.Duration) error {
	began := time.Now()
	c.done = append(c.done, s)
	row, err := w.Run(ctx, c.fault(s))
	c.sent, c.failed = c.sent+row.Sent, c.failed+row.Failed
	verdict := fmt.Sprintf("%d sent, %d failed, slowest %v, recovered after %v", row.Sent, row.Failed, row.Slowest.Round(time.Millisecond), row.Recovery.Round(time.Millisecond))
	if err != nil {
		verdict = "FAILED"
	}
	fmt.Fprintf(c.out, "%7s %3d  %v: %s (%v)\n", at.Round(time.Second), len(c.done), s, verdict, time.Since(began).Round(time.Second))
	return err
}

// search prints the steps that led to a failure, and looks for fewer that fail too: the last
// one alone in a new world, the last two, four, and so on, until the time is up.
func (c *chaos) search(ctx context.Context) error {
	prefix := c.done
	fmt.Fprintf(c.out, "chaos: seed %d failed after these steps:\n%s", c.seed, list(prefix))
	ctx, cancel := context.WithTimeout(ctx, c.shrink)
	defer cancel()
	for _, tail := range tails(prefix) {
		failed, err := c.again(ctx, tail)
		switch {
		case ctx.Err() != nil:
			fmt.Fprintf(c.out, "chaos: no shorter run has failed again within %v\n", c.shrink)
			return nil
		case err != nil:
			return fmt.Errorf("look for fewer faults: %w", err)
		case failed != nil:
			fmt.Fprintf(c.out, "chaos: the shortest that failed again are the last %d:\n%s  %v\n", len(tail), list(tail), failed)
			return nil
		}
	}
	fmt.Fprintln(c.out, "chaos: the same steps have not failed again: it depends on more than the order of the faults")
	return nil
}

// again runs steps in a new world. failed is what did not hold, and err why there was no run.
func (c *chaos) again(ctx context.Context, steps []step) (failed, err error) {
	fmt.Fprintf(c.out, "chaos: the last %d again\n", len(steps))
	w, err := c.start(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop(ctx, w)) }()
	for _, s := range steps {
		if _, failed = w.Run(ctx, c.fault(s)); failed != nil {
			return failed, nil
		}
	}
	return nil, nil
}

func list(steps []step) string {
	var b strings.Builder
	for i, s := range steps {
		fmt.Fprintf(&b, "%4d %v\n", i+1, s)
	}
	return b.String()
}
