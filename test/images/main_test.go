//go:build e2e

// Package images_test runs services whose images come from registries: digests, pulls that
// fail, and images that are fetched before an instance starts. The tests share one engine
// and one stack; each has registries of its own.
package images_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/containers"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

var (
	engine *containers.Engine
	stack  *harnesstest.Stack
	agent  registryFiles // With which the agent asks registries.
)

// registryFiles are read by the agent for each question, so tests may add to them.
type registryFiles struct{ dir string }

func (f registryFiles) dockerConfig() string { return filepath.Join(f.dir, "docker.json") }
func (f registryFiles) clientLogins() string { return filepath.Join(f.dir, "clients.json") } // Of Nomad's Docker driver.
func (f registryFiles) certs() string        { return filepath.Join(f.dir, "certs") }

func TestMain(m *testing.M) {
	flag.Parse()
	containers.Main("images", func(ctx context.Context, e *containers.Engine) (int, error) {
		engine = e
		return run(ctx, m)
	})
}

func run(ctx context.Context, m *testing.M) (code int, err error) {
	if agent.dir, err = os.MkdirTemp("", "wadi-images-"); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(agent.dir)) }()
	if err := errors.Join(os.Mkdir(agent.certs(), 0o700), os.WriteFile(agent.dockerConfig(), []byte("{}"), 0o600), os.WriteFile(agent.clientLogins(), []byte("{}"), 0o600)); err != nil {
		return 1, err
	}
	return harnesstest.Run(m, &stack, harnesstest.Options{Parallel: 4, Stack: harness.Options{
		Docker: true, DockerEndpoint: engine.Endpoint(), DockerLogins: agent.clientLogins(),
		Extra: fmt.Sprintf("images {\n  docker_config = %q\n  certs_dir = %q\n}\n", agent.dockerConfig(), agent.certs()),
	}}), nil
}
