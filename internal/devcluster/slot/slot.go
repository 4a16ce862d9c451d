// Package slot is a development cluster's share of the machine: a directory, a network
// bridge, a subnet and a range of ports.
//
// It promises that no two clusters have the same slot, that Release removes all
// processes, containers, mounts, networks and files that the slot's cluster made, and that the next
// cluster removes those of one whose parent was killed. It refuses to remove anything
// that another cluster or another Nomad may use.
package slot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
)

// slots is how many clusters one user can run at once.
const slots = 16

// marker is the environment variable that all processes of a cluster inherit,
// raw_exec tasks and Nomad's helpers included. Its value is the slot's Dir, a colon, and
// a text that no other cluster in that directory has.
const marker = "DEVCLUSTER_DIR"

// Slot is one cluster's share of the machine. Everything follows from its number, so that
// the next cluster with this number finds what a killed predecessor left.
type Slot struct {
	Dir    string   // The cluster's state; empty after Acquire, gone after Release.
	Allocs []string // IDs of the allocations that Nomad had at the end, for Release.

	n      int
	base   string
	log    hclog.Logger
	mark   string
	reaper *reaper  // Nil before StartReaper.
	lock   *os.File // Locked exclusively while the slot is in use.
	shared *os.File // Locked by every cluster; an exclusive lock proves that no other runs.
}

// baseDir is short and ignores TMPDIR: the paths of Unix sockets below it may have at
// most 107 bytes.
func baseDir() string {
	if uid := os.Geteuid(); uid != 0 {
		return "/tmp/wadi-dev-" + strconv.Itoa(uid)
	}
	return "/tmp/wadi-dev"
}

// Mark is the setting, NAME=value, that the environment of each of the cluster's
// processes must have: Release and the reaper find them by it.
func (s *Slot) Mark() string { return s.mark }

// Bridge is the name of the slot's network bridge.
func (s *Slot) Bridge() string { return "wadi-dev" + strconv.Itoa(s.n) }

// prefix is what every address of the slot's subnet begins with, as text.
func (s *Slot) prefix() string { return fmt.Sprintf("10.213.%d.", s.n) }

// Subnet is the bridge's, in CIDR notation.
func (s *Slot) Subnet() string { return s.prefix() + "0/24" }

// Subnets are four quarters of Subnet, for a cluster of several nodes, each with a bridge in
// a network namespace of its own.
func (s *Slot) Subnets() []string {
	var quarters []string
	for i := range 4 {
		quarters = append(quarters, fmt.Sprintf("%s%d/26", s.prefix(), i*64))
	}
	return quarters
}

// DynamicPorts are the first and last port that Nomad may give to tasks. They are within
// its default range.
func (s *Slot) DynamicPorts() (low, high int) {
	const each = 750
	return 20000 + s.n*each, 20000 + (s.n+1)*each - 1
}

// Acquire returns a free slot with an empty directory; an error if all are taken. It also
// cleans up the slots of clusters whose parent was killed.
func Acquire(ctx context.Context, log hclog.Logger) (*Slot, error) {
	base := baseDir()
	shared, err := lockBase(ctx, base)
	if err != nil {
		return nil, err
	}
	var free *Slot
	for n := range slots {
		s := &Slot{n: n, base: base, Dir: filepath.Join(base, strconv.Itoa(n)), log: log, shared: shared}
		_, err := os.Stat(s.Dir)
		used := err == nil
		if !used && free != nil {
			continue
		}
		s.lock, err = tryLock(s.Dir+".lock", syscall.LOCK_EX)
		if err != nil {
			continue // Another cluster's.
		}
		if used && !s.cleanKilled(ctx) {
			s.lock.Close()
			continue
		}
		if free == nil {
			free = s
			continue
		}
		s.lock.Close()
	}
	if free == nil {
		return nil, errors.Join(fmt.Errorf("all %d slots in %s are taken", slots, base), shared.Close())
	}
	if err := os.Mkdir(free.Dir, 0o755); err != nil {
		return nil, errors.Join(fmt.Errorf("make directory: %w", err), free.lock.Close(), shared.Close())
	}
	free.mark = fmt.Sprintf("%s=%s:%d-%d", marker, free.Dir, os.Getpid(), time.Now().UnixNano())
	return free, nil
}

// cleanKilled cleans up after a cluster whose parent was killed, and reports whether the
// slot is free then.
func (s *Slot) cleanKilled(ctx context.Context) bool {
	s.log.Warn("removing what a killed dev cluster left", "dir", s.Dir)
	if err := s.clean(ctx); err != nil {
		s.log.Error("could not remove what a killed dev cluster left", "dir", s.Dir, "error", err)
		return false
	}
	return true
}

// Release removes everything that the slot's processes made, and, if no other cluster
// runs, what clusters share. The slot must not be used afterwards.
func (s *Slot) Release(ctx context.Context) error {
	defer s.shared.Close()
	defer s.lock.Close()
	var dismissed error
	if s.reaper != nil {
		dismissed = s.reaper.dismiss()
	}
	err := s.clean(ctx)
	if err == nil {
		err = s.releaseShared(ctx)
	}
	return errors.Join(dismissed, err)
}

// releaseShared removes what clusters share, unless another one runs.
func (s *Slot) releaseShared(ctx context.Context) error {
	if syscall.Flock(int(s.shared.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return nil
	}
	var before baseline
	b, err := readAll(s.shared)
	if err == nil {
		err = json.Unmarshal(b, &before)
	}
	if err != nil { // Unknown: remove nothing that may belong to something else.
		return fmt.Errorf("read what was there before: %w", err)
	}
	if err := cleanShared(ctx, before); err != nil {
		return err
	}
	locks, err := filepath.Glob(filepath.Join(s.base, "*.lock"))
	if err != nil {
		return err
	}
	for _, f := range append(locks, filepath.Join(s.base, "lock"), s.base) {
		// The next cluster cleans up what a killed cluster left there.
		if err := os.Remove(f); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ENOTEMPTY) {
			return fmt.Errorf("remove %s: %w", f, err)
		}
	}
	return nil
}

// lockBase returns the shared lock. The first cluster notes what is on the machine, so
// that the last one knows what must stay. A note that no cluster has read yet stays
// valid: anything newer was left by a killed cluster.
func lockBase(ctx context.Context, base string) (*os.File, error) {
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for {
		f, err := tryLockBase(ctx, base)
		if err == nil || !errors.Is(err, syscall.EWOULDBLOCK) {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("lock %s: %w", base, ctx.Err())
		case <-t.C:
		}
	}
}

func tryLockBase(ctx context.Context, base string) (*os.File, error) {
	if err := os.Mkdir(base, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	if err := checkOwner(base); err != nil {
		return nil, err
	}
	name := filepath.Join(base, "lock")
	f, err := tryLock(name, syscall.LOCK_EX)
	if errors.Is(err, os.ErrNotExist) {
		return nil, syscall.EWOULDBLOCK // The last cluster has just removed it.
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return tryLock(name, syscall.LOCK_SH)
	}
	if err != nil {
		return nil, err
	}
	if b, err := readAll(f); err != nil || len(b) == 0 {
		b, err := json.Marshal(observe(ctx))
		if err == nil {
			_, err = f.WriteAt(b, 0)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("note what is there: %w", err), f.Close())
		}
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
	}
	return f, nil
}

// tryLock opens and locks a file, or returns an EWOULDBLOCK. The file that it
// returns still has that name.
func tryLock(name string, how int) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
	}
	opened, err1 := f.Stat()
	named, err2 := os.Stat(name)
	if err1 != nil || err2 != nil || !os.SameFile(opened, named) {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", name, syscall.EWOULDBLOCK), f.Close())
	}
	return f, nil
}

// checkOwner refuses a directory of another user: in /tmp any user may have made it.
func checkOwner(dir string) error {
	st, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("check directory: %w", err)
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !st.IsDir() || !ok || int(sys.Uid) != os.Geteuid() {
		return fmt.Errorf("check directory: %s is not a directory of this user", dir)
	}
	return nil
}

func readAll(f *os.File) ([]byte, error) {
	return io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
}
