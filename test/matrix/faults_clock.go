//go:build e2e

package matrix

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/wadi-run/wadi/test/harness/clock"
)

const clockJumps = "a clock is set ahead or back"

// clockFaults set clocks, and then back again: each is a jump both ways. Consul, Nomad and
// the apps keep theirs, so that the clocks differ meanwhile.
func clockFaults() []Fault {
	var all []Fault
	for _, v := range []struct {
		whose string
		of    func(context.Context, *World) ([]int, error)
		jump  time.Duration
		text  string
		short bool
	}{
		{"the clock of the leader", leaderPID, time.Hour, "an hour ahead", false},
		{"the clock of the leader", leaderPID, -time.Hour, "an hour back", false},
		{"the clocks of all agents and queue-proxies", allPIDs, time.Hour, "an hour ahead", false},
		{"the clocks of all agents and queue-proxies", allPIDs, -time.Hour, "an hour back", true},
		{"the clocks of all queue-proxies", queuePIDs, 30 * 24 * time.Hour, "30 days ahead", false},
	} {
		all = append(all, Fault{
			Name: fmt.Sprintf("%s: %s, and set right after 10 s", v.whose, v.text), Group: GroupResources, Promise: clockJumps, Short: v.short, For: 10 * time.Second,
			Break: func(ctx context.Context, w *World) (func(context.Context) error, error) {
				pids, err := v.of(ctx, w)
				if err != nil {
					return nil, err
				}
				return func(context.Context) error { return shift(pids, 0) }, shift(pids, v.jump)
			},
		})
	}
	return all
}

func leaderPID(ctx context.Context, w *World) ([]int, error) {
	a, err := w.Leader(ctx)
	if err != nil {
		return nil, err
	}
	return []int{a.PID()}, nil
}

func queuePIDs(_ context.Context, w *World) ([]int, error) {
	tasks, err := w.tasks(programQueue)
	var pids []int
	for _, t := range tasks {
		pids = append(pids, t.pid)
	}
	return pids, err
}

func allPIDs(ctx context.Context, w *World) ([]int, error) {
	pids, err := queuePIDs(ctx, w)
	for _, a := range w.Agents {
		pids = append(pids, a.PID())
	}
	return pids, err
}

// shift sets the clocks of processes; those that have ended have none.
func shift(pids []int, offset time.Duration) error {
	var errs []error
	for _, pid := range pids {
		if err := clock.Shift(pid, offset); err != nil && !ended(pid) {
			errs = append(errs, fmt.Errorf("set the clock of %d: %w", pid, err))
		}
	}
	return errors.Join(errs...)
}

// ended says whether there is no such process any more.
func ended(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }
