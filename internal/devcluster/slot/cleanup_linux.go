package slot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	netnsDir   = "/run/netns"
	cniLeases  = "/run/cni/nomad"       // Of the address plugin, one file per address.
	cniResults = "/var/lib/cni/results" // Of the CNI library, one file per interface.
	mountinfo  = "/proc/self/mountinfo"
)

// clean removes the slot's processes, and then everything that they made. It goes on
// after an error, but removes the directory only when nothing is mounted below it.
func (s *Slot) clean(ctx context.Context) error {
	ids := s.allocations()
	owned := func(line string) bool {
		return s.owns(line) || slices.ContainsFunc(ids, func(id string) bool { return strings.Contains(line, id) })
	}
	errs := []error{
		s.killProcesses(ctx),
		s.removeContainers(ctx, ids),
		unmountBelow(s.Dir),
	}
	if os.Geteuid() == 0 {
		errs = append(errs,
			removeNetworkNamespaces(ids),
			removeLink(s.Bridge()),
			cleanIPTables(ctx, owned, nil, false),
			s.removeLeases(ids),
			removeTaskCgroups(ids),
		)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := os.RemoveAll(s.Dir); err != nil {
		return fmt.Errorf("remove state: %w", err)
	}
	return nil
}

// owns reports whether a line of text names this slot's network.
func (s *Slot) owns(line string) bool {
	return containsWord(line, s.Bridge()) || strings.Contains(line, s.prefix())
}

// containsWord keeps wadi-dev1 apart from wadi-dev11.
func containsWord(line, word string) bool {
	for rest := line; ; {
		_, after, ok := strings.Cut(rest, word)
		if !ok {
			return false
		}
		if after == "" || after[0] < '0' || after[0] > '9' {
			return true
		}
		rest = after
	}
}

// allocations returns the IDs that Nomad listed, and those that still have files on the
// machine.
func (s *Slot) allocations() []string {
	ids := slices.Clone(s.Allocs)
	dirs, _ := filepath.Glob(filepath.Join(s.Dir, "*", "alloc", "*")) // Of each Nomad; none: no allocations.
	for _, d := range dirs {
		if id := filepath.Base(d); len(id) == 36 && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	results, _ := filepath.Glob(filepath.Join(cniResults, "nomad-*"))
	for _, f := range results { // nomad-<allocation>-eth0
		b, err := os.ReadFile(f)
		id := strings.TrimPrefix(filepath.Base(f), "nomad-")
		if err == nil && len(id) >= 36 && s.owns(string(b)) && !slices.Contains(ids, id[:36]) {
			ids = append(ids, id[:36])
		}
	}
	return ids
}

// killProcesses ends every process with the mark of the slot, of this cluster or an
// earlier one.
func (s *Slot) killProcesses(ctx context.Context) error {
	return KillProcesses(ctx, marker+"="+s.Dir+":")
}

// KillProcesses ends every process whose environment has a setting that begins so, and
// returns when they have ended. The setting must be one that only the caller's have.
func KillProcesses(ctx context.Context, setting string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for {
		pids := processes(setting)
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("kill process %d: %w", pid, err)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for processes %v to end: %w", pids, ctx.Err())
		case <-t.C:
		}
	}
}

func processes(setting string) []int {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		env, err := os.ReadFile(filepath.Join("/proc", d.Name(), "environ"))
		if err == nil && strings.Contains("\x00"+string(env), "\x00"+setting) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// mounts returns the mount points at or below dir, the topmost first.
func mounts(dir string) ([]string, error) {
	b, err := os.ReadFile(mountinfo)
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var points []string
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 5 {
			continue
		}
		if p := unescape.Replace(f[4]); p == dir || strings.HasPrefix(p, dir+"/") {
			points = append(points, p)
		}
	}
	slices.Reverse(points) // A mount is listed after what it is mounted on.
	return points, nil
}

func unmountBelow(dir string) error {
	points, err := mounts(dir)
	if err != nil {
		return err
	}
	for _, p := range points {
		if err := unix.Unmount(p, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("unmount %s: %w", p, err)
		}
	}
	if points, err = mounts(dir); err == nil && len(points) > 0 {
		err = fmt.Errorf("unmount: still mounted: %v", points)
	}
	return err
}

// removeNetworkNamespaces removes those of allocations, which Nomad names by their IDs.
func removeNetworkNamespaces(ids []string) error {
	for _, id := range ids {
		if err := unmountBelow(filepath.Join(netnsDir, id)); err != nil {
			return err
		}
		if err := os.Remove(filepath.Join(netnsDir, id)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove network namespace: %w", err)
		}
	}
	return nil
}

// removeLeases removes the address and result files of this slot.
func (s *Slot) removeLeases(ids []string) error {
	leases, _ := filepath.Glob(filepath.Join(cniLeases, s.prefix()+"*"))
	results, _ := filepath.Glob(filepath.Join(cniResults, "*"))
	for _, f := range results {
		if slices.ContainsFunc(ids, func(id string) bool { return strings.Contains(filepath.Base(f), id) }) {
			leases = append(leases, f)
		}
	}
	for _, f := range leases {
		if err := os.Remove(f); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove network lease: %w", err)
		}
	}
	return nil
}
