package main

import (
	"context"
	"errors"

	"github.com/wadi-run/wadi/scheduler/replay"
)

func scaleReplayCommand() command {
	return command{
		usage:    "wadi scale replay [options]",
		synopsis: "Make scaling decisions from a file, by the code that the agent runs",
		help: `Reads JSON lines on standard input: first the setting, then one line for each
evaluation. Writes one line for each evaluation, at once:

  {"config": {"target_value": 70}, "ready_at_start": 1}
  {"t_s": 2, "stable": 140, "panic": 140, "ready": 1}
  {"t_s": 4, "samples": [{"second": 3, "concurrency": 90}], "ready": 2}

docs/autoscaling.md says what each field means.`,
		run: func(ctx context.Context, c *call) error {
			return interruptible(ctx, func() error { return replay.Run(c.stdin, c.stdout) })
		},
	}
}

// interruptible ends when ctx does, even while work waits for standard input: then
// the process is about to end, and work with it.
func interruptible(ctx context.Context, work func() error) error {
	done := make(chan error, 1)
	go func() { done <- work() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errors.New("interrupted")
	}
}
