package slot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/wadi-run/wadi/internal/toolchain"
)

// baseline is what was on the machine before the first cluster, of what all Nomads of
// a machine share: the names of cgroups and of CNI's files are fixed in their code.
type baseline struct {
	Chains []string `json:"chains"` // "table chain".
	Dirs   []string `json:"dirs"`
	Netns  bool     `json:"netns"` // The directory of network namespaces was a mount point.
}

// sharedDirs are removed if they did not exist before. Inner directories come first.
var sharedDirs = []string{
	"/run/cni/nomad", "/run/cni", "/var/lib/cni/results", "/var/lib/cni/cache", "/var/lib/cni", netnsDir,
}

// cgroupDirs hold the tasks of every Nomad of the machine (version 1, one per
// controller, and version 2); Nomad's option cgroup_parent changes nothing on Linux.
var cgroupDirs = []string{
	"/sys/fs/cgroup/cpuset/nomad", "/sys/fs/cgroup/cpu/nomad", "/sys/fs/cgroup/freezer/nomad",
	"/sys/fs/cgroup/memory/nomad", "/sys/fs/cgroup/nomad.slice",
}

// observe returns the present state. Without root it is empty: nothing can be read, and
// a cluster can't make anything either.
func observe(ctx context.Context) baseline {
	var b baseline
	if os.Geteuid() != 0 {
		return b
	}
	if iptables := toolchain.IPTables(); iptables != "" {
		for _, table := range natAndFilter {
			out, _ := exec.CommandContext(ctx, iptables+"-save", "-t", table).Output()
			for line := range strings.Lines(string(out)) {
				if name, ok := strings.CutPrefix(line, ":"); ok {
					b.Chains = append(b.Chains, table+" "+strings.Fields(name)[0])
				}
			}
		}
	}
	for _, d := range slices.Concat(sharedDirs, cgroupDirs) {
		if _, err := os.Stat(d); err == nil {
			b.Dirs = append(b.Dirs, d)
		}
	}
	b.Netns = isMount(netnsDir)
	return b
}

func isMount(dir string) bool {
	points, err := mounts(dir)
	return err == nil && slices.Contains(points, dir)
}

// cleanShared removes what clusters share, unless it existed before or is in use: another
// Nomad may have begun to use it.
func cleanShared(ctx context.Context, before baseline) error {
	if os.Geteuid() != 0 {
		return nil
	}
	if err := cleanIPTables(ctx, func(string) bool { return false }, before.Chains, true); err != nil {
		return err
	}
	if !before.Netns && isMount(netnsDir) {
		entries, err := os.ReadDir(netnsDir)
		if err == nil && len(entries) == 0 {
			if err := unix.Unmount(netnsDir, unix.MNT_DETACH); err != nil {
				return fmt.Errorf("unmount %s: %w", netnsDir, err)
			}
		}
	}
	for _, d := range cgroupDirs {
		// A Nomad makes them when it starts, and relies on them from then on.
		if !slices.Contains(before.Dirs, d) && !otherNomad() {
			removeCgroups(d)
		}
	}
	for _, d := range sharedDirs {
		if slices.Contains(before.Dirs, d) {
			continue
		}
		if leases, _ := filepath.Glob(filepath.Join(cniLeases, "*.*.*.*")); d == cniLeases && len(leases) == 0 {
			for _, f := range []string{"lock", "last_reserved_ip.0"} { // Of the address plugin.
				_ = os.Remove(filepath.Join(d, f)) // Often missing.
			}
		}
		if err := removeUnused(d); err != nil {
			return err
		}
	}
	return nil
}

// removeUnused removes a directory, unless it is in use: it is not empty, or a mount
// point.
func removeUnused(dir string) error {
	err := os.Remove(dir)
	for _, ignored := range []error{fs.ErrNotExist, unix.ENOTEMPTY, unix.EBUSY} {
		if errors.Is(err, ignored) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("remove what dev clusters share: %w", err)
	}
	return nil
}

// otherNomad reports whether any Nomad agent runs; those of the clusters have ended.
func otherNomad() bool {
	names, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, n := range names {
		comm, err := os.ReadFile(n)
		if err != nil || strings.TrimSpace(string(comm)) != "nomad" {
			continue
		}
		// The command line of a zombie is empty.
		if cmdline, err := os.ReadFile(filepath.Join(filepath.Dir(n), "cmdline")); err == nil && len(cmdline) > 0 {
			return true
		}
	}
	return false
}

// removeTaskCgroups removes the empty cgroups of allocations' tasks.
func removeTaskCgroups(ids []string) error {
	for _, d := range cgroupDirs {
		err := filepath.WalkDir(d, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.IsDir() {
				return nil
			}
			for _, id := range ids {
				if strings.Contains(e.Name(), id) {
					removeCgroups(path)
					return fs.SkipDir
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("walk cgroups: %w", err)
		}
	}
	return nil
}

// removeCgroups removes a cgroup and those below it, except for cgroups with processes:
// the kernel refuses to remove them.
func removeCgroups(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.IsDir() {
			removeCgroups(filepath.Join(dir, e.Name()))
		}
	}
	_ = unix.Rmdir(dir)
}
