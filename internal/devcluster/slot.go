package devcluster

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
// raw_exec tasks and Nomad's helpers included. Its value is the cluster's Dir,
// a colon, and what no other cluster in that directory has.
const marker = "DEVCLUSTER_DIR"

// slot is one cluster's share of the machine: a directory, a bridge, a subnet
// and a range of ports, all following from its number, so that whoever gets
// the number next finds and removes what a killed predecessor left.
type slot struct {
	n      int
	dir    string
	base   string
	log    hclog.Logger
	allocs []string // IDs of allocations, as far as Nomad told them at the end.
	lock   *os.File // Held exclusively while the slot is in use.
	shared *os.File // Held by every cluster; who gets it exclusively is the only one.
}

// baseDir is short, because below it are Unix sockets, whose paths end at 107
// bytes; so TMPDIR is not asked.
func baseDir() string {
	if uid := os.Geteuid(); uid != 0 {
		return "/tmp/wadi-dev-" + strconv.Itoa(uid)
	}
	return "/tmp/wadi-dev"
}

func (s *slot) bridge() string { return "wadi-dev" + strconv.Itoa(s.n) }

// prefix is what every address of the slot's subnet begins with, as text.
func (s *slot) prefix() string { return fmt.Sprintf("10.213.%d.", s.n) }

func (s *slot) subnet() string { return s.prefix() + "0/24" }

// dynamicPorts are within Nomad's own default range.
func (s *slot) dynamicPorts() (low, high int) {
	const each = 750
	return 20000 + s.n*each, 20000 + (s.n+1)*each - 1
}

// acquire returns a free slot, with an empty directory. Slots of clusters whose
// parent was killed are cleaned on the way.
func acquire(ctx context.Context, base string, log hclog.Logger) (*slot, error) {
	shared, err := lockBase(ctx, base)
	if err != nil {
		return nil, err
	}
	var mine *slot
	for n := range slots {
		s := &slot{n: n, base: base, dir: filepath.Join(base, strconv.Itoa(n)), log: log, shared: shared}
		_, err := os.Stat(s.dir)
		used := err == nil
		if !used && mine != nil {
			continue
		}
		s.lock, err = tryLock(s.dir+".lock", syscall.LOCK_EX)
		if err != nil {
			continue // Somebody's.
		}
		if used {
			log.Warn("removing what a killed dev cluster left", "dir", s.dir)
			if err := s.clean(ctx); err != nil {
				log.Error("could not remove what a killed dev cluster left", "dir", s.dir, "error", err)
				s.lock.Close()
				continue
			}
		}
		if mine == nil {
			mine = s
			continue
		}
		s.lock.Close()
	}
	if mine == nil {
		return nil, errors.Join(fmt.Errorf("all %d places in %s are taken", slots, base), shared.Close())
	}
	if err := os.Mkdir(mine.dir, 0o755); err != nil {
		return nil, errors.Join(fmt.Errorf("make directory: %w", err), mine.lock.Close(), shared.Close())
	}
	return mine, nil
}

// release removes all that the slot's processes left, and, if no other
// cluster runs, what clusters share.
func (s *slot) release(ctx context.Context) error {
	defer s.shared.Close()
	defer s.lock.Close()
	if err := s.clean(ctx); err != nil {
		return err
	}
	if syscall.Flock(int(s.shared.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return nil
	}
	var before baseline
	b, err := readAll(s.shared)
	if err == nil {
		err = json.Unmarshal(b, &before)
	}
	if err != nil { // Unknown: remove nothing that may be somebody else's.
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
		// What a cluster that was killed has left there is for the next one to clean.
		if err := os.Remove(f); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ENOTEMPTY) {
			return fmt.Errorf("remove %s: %w", f, err)
		}
	}
	return nil
}

// lockBase returns the shared lock. Who comes first notes what is on the
// machine, so that the last can tell what to leave. A note of before stays when
// nobody came to read it: what was left since then is not to be kept.
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
		return nil, syscall.EWOULDBLOCK // Removed under our feet by the last one.
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
// returns is still the one of that name.
func tryLock(name string, how int) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
	}
	ours, err1 := f.Stat()
	there, err2 := os.Stat(name)
	if err1 != nil || err2 != nil || !os.SameFile(ours, there) {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", name, syscall.EWOULDBLOCK), f.Close())
	}
	return f, nil
}

// checkOwner: in /tmp anybody may have made the directory.
func checkOwner(dir string) error {
	st, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("check directory: %w", err)
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !st.IsDir() || !ok || int(sys.Uid) != os.Geteuid() {
		return fmt.Errorf("check directory: %s is not a directory of ours", dir)
	}
	return nil
}

func readAll(f *os.File) ([]byte, error) {
	return io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
}
