//go:build e2e

package rolling_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// errNoHistory says that the checkout has no earlier version to upgrade from.
var errNoHistory = errors.New("no earlier version: the checkout has no history (git fetch --unshallow)")

// farthest bounds how many commits are looked at.
const farthest = 500

// previous returns the newest commit whose program differs from that of the checkout.
func previous(ctx context.Context, root string) (commit, subject string, err error) {
	git := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", root}, args...)...).Output()
		return strings.TrimSpace(string(out)), err
	}
	commits, err := git("rev-list", fmt.Sprintf("--max-count=%d", farthest), "HEAD")
	if err != nil {
		return "", "", fmt.Errorf("%w: %v", errNoHistory, err)
	}
	product := []string{"--", "go.mod", "*.go", ":!*_test.go", ":!test/", ":!bench/", ":!tools/"}
	for commit := range strings.Lines(commits) {
		commit = strings.TrimSpace(commit)
		changed, err := git(append([]string{"diff", "--name-only", commit}, product...)...)
		if err != nil {
			return "", "", fmt.Errorf("compare with commit %s: %w", commit, err)
		}
		if changed == "" {
			continue
		}
		subject, err := git("log", "-1", "--format=%h %s", commit)
		return commit, subject, err
	}
	return "", "", errNoHistory
}

// build builds the programs of a commit into a folder. The example app is the checkout's.
func build(ctx context.Context, root, commit, into string) error {
	source, err := os.MkdirTemp("", "wadi-previous-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(source)
	archive := exec.CommandContext(ctx, "git", "-C", root, "archive", "--format=tar", commit)
	unpack := exec.CommandContext(ctx, "tar", "-x", "-C", source)
	if unpack.Stdin, err = archive.StdoutPipe(); err != nil {
		return err
	}
	if err := unpack.Start(); err != nil {
		return err
	}
	if err := errors.Join(archive.Run(), unpack.Wait()); err != nil {
		return fmt.Errorf("unpack commit %s: %w", commit, err)
	}
	compile := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w -X main.version=previous", "-o", into+"/", "./cmd/wadi", "./cmd/queue-proxy")
	compile.Dir, compile.Env = source, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false", "GOWORK=off")
	if out, err := compile.CombinedOutput(); err != nil {
		return fmt.Errorf("build commit %s: %w\n%s", commit, err, out)
	}
	return os.Symlink(filepath.Join(root, "bin", "hello"), filepath.Join(into, "hello"))
}
