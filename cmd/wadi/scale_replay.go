package main

import (
	"context"
	"errors"

	"github.com/wadi-run/wadi/scheduler/replay"
)

func scaleReplayCommand() command {
	var w whatIf
	return command{
		usage:    "wadi scale replay [options]",
		synopsis: "Make scaling decisions from a file, with the agent's code",
		help: `Reads JSON lines on standard input: first the settings, then one line for each
evaluation. Writes one line for each evaluation, at once:

  {"config": {"target_value": 70}, "ready_at_start": 1}
  {"t_s": 2, "stable": 140, "panic": 140, "ready": 1}
  {"t_s": 4, "samples": [{"second": 3, "concurrency": 90}], "ready": 2}

With -what-if it reads a load instead, simulates instances under it, and shows
how many there are, how many requests wait, and the cost:

  {"t_s": 0, "rps": 20, "service_time_s": 0.2, "start_up_s": 5}
  {"t_s": 60, "rps": 200, "ramp": true}
  {"t_s": 120}

docs/autoscaling.md says what each field means.`,
		flags: w.register,
		run: func(ctx context.Context, c *call) error {
			if len(w.traces) > 0 {
				return interruptible(ctx, func() error { return w.run(c) })
			}
			if len(w.configs) > 0 || len(w.against) > 0 || w.totals {
				return usagef("-config, -against and -totals need -what-if")
			}
			return interruptible(ctx, func() error { return replay.Run(c.stdin, c.stdout) })
		},
	}
}

// interruptible returns when ctx ends, even while work waits for standard input. Then the
// process is about to exit, and work with it.
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
