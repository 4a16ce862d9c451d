package containers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/wadi-run/wadi/internal/toolchain"
	"github.com/wadi-run/wadi/test/harness"
)

// Built makes an image of a program in bin/ of the checkout, such as "hello", "corners",
// "queue-proxy" or "wadi".
func Built(program string, options ...Option) (v1.Image, error) {
	root, err := harness.Root()
	if err != nil {
		return nil, err
	}
	return Program(filepath.Join(root, "bin", program), options...)
}

// Pause makes the image of the container that holds the network of a group of containers.
func Pause(ctx context.Context) (v1.Image, error) {
	return Compiled(ctx, "./test/harness/containers/pause")
}

// Compiled builds a program of the checkout, such as "./test/apps/inside", and makes an image
// of it.
func Compiled(ctx context.Context, pkg string, options ...Option) (v1.Image, error) {
	root, err := harness.Root()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "wadi-image-")
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", pkg, err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", dir, pkg)
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return Program(filepath.Join(dir, filepath.Base(pkg)), options...)
}

// Envoy makes an image of the tests' Envoy with the C library of this machine. It has no
// shell. Its entrypoint is Envoy, as the arguments of Nomad's default sidecar task want it.
func Envoy(ctx context.Context, options ...Option) (v1.Image, error) {
	tools, missing := toolchain.Locate(ctx)
	if tools.Envoy == "" {
		return nil, fmt.Errorf("make an image of Envoy: %v (make tools)", missing)
	}
	return Dynamic(ctx, tools.Envoy, options...)
}

// library finds the path in a line of ldd: "libc.so.6 => /lib/libc.so.6 (0x7f…)" or
// "/lib64/ld-linux-x86-64.so.2 (0x7f…)".
var library = regexp.MustCompile(`(?m)^\s*(?:\S+ => )?(/\S+) \(0x`)

// Dynamic makes an image of a program of this machine with the libraries that it links.
func Dynamic(ctx context.Context, program string, options ...Option) (v1.Image, error) {
	found, err := Libraries(ctx, program)
	if err != nil {
		return nil, err
	}
	var libraries []Option
	for _, at := range found {
		data, err := os.ReadFile(at)
		if err != nil {
			return nil, fmt.Errorf("find the libraries of %s: %w", program, err)
		}
		libraries = append(libraries, File(at, data, 0o755))
	}
	return Program(program, append(libraries, options...)...)
}

// Libraries are the files that a program or library of this machine links.
func Libraries(ctx context.Context, program string) ([]string, error) {
	out, err := exec.CommandContext(ctx, "ldd", program).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("find the libraries of %s: %w\n%s", program, err, out)
	}
	var files []string
	for _, m := range library.FindAllSubmatch(out, -1) {
		files = append(files, string(m[1]))
	}
	if len(files) == 0 {
		return nil, errors.New("find the libraries of " + program + ": none in " + string(out))
	}
	return files, nil
}
