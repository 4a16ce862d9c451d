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
	root, err := harness.Root()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "wadi-pause-")
	if err != nil {
		return nil, fmt.Errorf("build pause: %w", err)
	}
	defer os.RemoveAll(dir)
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", dir, "./test/harness/containers/pause")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build pause: %w\n%s", err, out)
	}
	return Program(filepath.Join(dir, "pause"))
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
	out, err := exec.CommandContext(ctx, "ldd", program).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("find the libraries of %s: %w\n%s", program, err, out)
	}
	found := library.FindAllSubmatch(out, -1)
	if len(found) == 0 {
		return nil, errors.New("find the libraries of " + program + ": none in " + string(out))
	}
	var libraries []Option
	for _, m := range found {
		at := string(m[1])
		data, err := os.ReadFile(at)
		if err != nil {
			return nil, fmt.Errorf("find the libraries of %s: %w", program, err)
		}
		libraries = append(libraries, File(at, data, 0o755))
	}
	return Program(program, append(libraries, options...)...)
}
