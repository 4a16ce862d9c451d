//go:build e2e

package matrix

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wadi-run/wadi/test/harness"
)

const (
	diskFull = "an agent's disk is full"
	usedUp   = "memory or file descriptors are used up"
)

// resourceFaults take disk, memory and file descriptors away.
func resourceFaults() []Fault {
	return []Fault{
		{
			Name: "the leader's disk is full", Group: GroupResources, Promise: diskFull, For: 5 * time.Second,
			Break: leaderDiskFull,
		},
		{
			Name: "the leader is killed for its memory", Group: GroupResources, Promise: usedUp, For: 5 * time.Second,
			Break:  leaderOutOfMemory,
			During: anotherLeads, Allowed: []Allowed{inFlightAtAgent},
		},
		{
			Name: "the leader has less memory than it needs (GOMEMLIMIT)", Group: GroupResources, Promise: usedUp, For: 10 * time.Second,
			Break: leaderThrashes,
		},
		outOfMemory("the app of the only instance", ServiceHost, programApp),
		outOfMemory("the queue-proxy of one of two instances", ServicePair, programQueue),
		{
			Name: "the leader can open no file or connection for 10 s", Group: GroupResources, Promise: usedUp, For: 10 * time.Second,
			Break: func(ctx context.Context, w *World) (func(context.Context) error, error) {
				a, err := w.choose(ctx, leads)
				if err != nil {
					return nil, err
				}
				return noFiles(a.PID())
			},
		},
	}
}

func outOfMemory(what, service, program string) Fault {
	allowed := inFlightBehindProxy
	if program == programApp {
		allowed = inFlightAtApp
	}
	return Fault{
		Name: what + " is killed for its memory", Group: GroupResources, Promise: usedUp,
		Break: func(ctx context.Context, w *World) (func(context.Context) error, error) {
			t, err := w.one(service, program)
			if err != nil {
				return nil, err
			}
			return nil, noMemory(ctx, t.pid)
		},
		Allowed: []Allowed{allowed},
	}
}

// with restarts the leader with other surroundings, until mend.
func (w *World) with(ctx context.Context, change func(a *harness.Agent)) (mend func(context.Context) error, err error) {
	a, err := w.choose(ctx, leads)
	if err != nil {
		return nil, err
	}
	env, log := a.Env, a.LogFile
	if err := a.Stop(ctx); err != nil {
		return nil, err
	}
	change(a)
	mend = func(ctx context.Context) error {
		if err := a.Stop(ctx); err != nil {
			return err
		}
		a.Env, a.LogFile = env, log
		return a.Start(ctx)
	}
	if err := a.Start(ctx); err != nil {
		return nil, err
	}
	return mend, a.WaitLeader(ctx)
}

func leaderDiskFull(ctx context.Context, w *World) (mend func(context.Context) error, err error) {
	dir, err := os.MkdirTemp("", "wadi-full-")
	if err != nil {
		return nil, err
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4k,nr_inodes=1"); err != nil {
		return nil, fmt.Errorf("mount a full file system: %w", err)
	}
	back, err := w.with(ctx, func(a *harness.Agent) {
		a.Env, a.LogFile = append(a.Env, "TMPDIR="+dir, "HOME="+dir), "/dev/full"
	})
	return func(ctx context.Context) error {
		return errors.Join(back(ctx), syscall.Unmount(dir, unix.MNT_DETACH), os.Remove(dir))
	}, err
}

func leaderThrashes(ctx context.Context, w *World) (mend func(context.Context) error, err error) {
	return w.with(ctx, func(a *harness.Agent) { a.Env = append(a.Env, "GOMEMLIMIT=8MiB") })
}

func leaderOutOfMemory(ctx context.Context, w *World) (mend func(context.Context) error, err error) {
	a, err := w.choose(ctx, leads)
	if err != nil {
		return nil, err
	}
	return a.Start, noMemory(ctx, a.PID())
}

// noMemory moves a process into a control group without memory, and returns when the kernel
// has killed it.
func noMemory(ctx context.Context, pid int) error {
	group, limit := "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		group, limit = "/sys/fs/cgroup", "memory.max"
	}
	group = filepath.Join(group, fmt.Sprintf("wadi-test-%d", pid))
	if err := os.Mkdir(group, 0o755); err != nil {
		return fmt.Errorf("make a control group: %w", err)
	}
	err := os.WriteFile(filepath.Join(group, limit), []byte("4096"), 0)
	if err == nil {
		err = os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
	}
	if err == nil {
		err = harness.Eventually(ctx, breakWithin, func() error {
			if !ended(pid) {
				return fmt.Errorf("process %d lives without memory", pid)
			}
			return nil
		})
	}
	remove := harness.Eventually(context.WithoutCancel(ctx), breakWithin, func() error { return os.Remove(group) })
	return errors.Join(err, remove)
}

// noFiles has a process get no more file descriptors, until mend.
func noFiles(pid int) (mend func(context.Context) error, err error) {
	var before unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &before); err != nil {
		return nil, fmt.Errorf("read the limit of file descriptors: %w", err)
	}
	few := unix.Rlimit{Cur: 3, Max: before.Max}
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &few, nil); err != nil {
		return nil, fmt.Errorf("limit file descriptors: %w", err)
	}
	return func(context.Context) error {
		if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &before, nil); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("lift the limit of file descriptors: %w", err)
		}
		return nil
	}, nil
}
