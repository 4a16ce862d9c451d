//go:build linux

package slot

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A directory that another cluster has mounted or filled stays, and is no error.
func TestRemoveUnused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting takes root")
	}
	dir := filepath.Join(t.TempDir(), "netns")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4k"); err != nil {
		t.Skipf("mounting is not allowed here: %v", err)
	}
	unmount := func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }
	t.Cleanup(unmount)
	stays := func(why string) {
		t.Helper()
		if err := removeUnused(dir); err != nil {
			t.Errorf("%s: %v", why, err)
		}
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("%s: %v", why, err)
		}
	}
	stays("mounted")
	unmount()
	if err := os.WriteFile(filepath.Join(dir, "a"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stays("in use")
	if err := os.Remove(filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	if err := removeUnused(dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("an empty one is still there: %v", err)
	}
	if err := removeUnused(dir); err != nil {
		t.Errorf("one that is gone: %v", err)
	}
}
