//go:build e2e

package faults_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// fullDisk returns a folder on a full file system.
func fullDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("mount a small file system: %v", err)
	}
	t.Cleanup(func() { harnesstest.Must(t, "unmount", syscall.Unmount(dir, 0)) })
	err := os.WriteFile(filepath.Join(dir, "filler"), bytes.Repeat([]byte("x"), 1<<20), 0o600)
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill the disk: got %v, want no space left", err)
	}
	return dir
}

// An agent that can neither log nor write a file still works: it has no state on disk.
func TestFullDisk(t *testing.T) {
	dir, a := fullDisk(t), stack.Agent
	harnesstest.Must(t, "stop the agent", a.Stop(t.Context()))
	log := a.LogFile
	a.LogFile, a.Env = "/dev/full", []string{"TMPDIR=" + dir, "HOME=" + dir}
	t.Cleanup(func() {
		harnesstest.Must(t, "stop the agent", a.Stop(context.WithoutCancel(t.Context())))
		a.LogFile, a.Env = log, nil
		harnesstest.Must(t, "start the agent", a.Start(context.WithoutCancel(t.Context())))
		harnesstest.Must(t, "wait for it", a.WaitLeader(context.WithoutCancel(t.Context())))
	})
	harnesstest.Must(t, "start the agent on a full disk", a.Start(t.Context()))
	harnesstest.Must(t, "wait for it", a.WaitLeader(t.Context()))

	stack.Deploy(t, harnesstest.Hello("cramped", `window = "6s"`, ""))
	wantAnswer(t, a, "cramped", "/")
	stack.ToZero(t, "cramped-00001")
	wantAnswer(t, a, "cramped", "/")
	deploy2 := strings.Replace(harnesstest.Hello("cramped", `window = "6s"`, ""), `command = "hello"`, "command = \"hello\"\n        args = [\"two\"]", 1)
	harnesstest.Must(t, "submit a second revision", a.Apply(t.Context(), deploy2))
	if res := wantAnswer(t, a, "cramped", "/"); !strings.Contains(res.Body, "cramped-00002") {
		t.Errorf("got %q, want the second revision", res.Body)
	}
	pause(t, time.Second)
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("got %v (%v) on the disk, want the filler only", names(left), err)
	}
}

func names(all []fs.DirEntry) []string {
	var out []string
	for _, e := range all {
		out = append(out, e.Name())
	}
	return out
}
