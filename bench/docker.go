package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/containers"
)

const dockerRuns = 8

// Images of the containers; no registry has them.
const (
	imagePause = "localhost/bench/pause:1"
	imageApp   = "localhost/bench/hello:1"
	imageProxy = "localhost/bench/queue-proxy:1"
	imageEnvoy = "localhost/bench/envoy:1"
)

// envoyTask is Nomad's own sidecar task with the image of this machine's Envoy.
const envoyTask = `driver = "docker"
    config {
      image = "` + imageEnvoy + `"
      args  = ["-c", "$${NOMAD_SECRETS_DIR}/envoy_bootstrap.json", "-l", "warning", "--concurrency", "1", "--disable-hot-restart"]
    }
    resources {
      cpu    = 20
      memory = 128
    }
    shutdown_delay = "1s"
`

// proxyTask is the queue-proxy as a container, as "wadi init" writes it.
const proxyTask = `driver = "docker"
  config {
    image = "` + imageProxy + `"
  }
  resources {
    cpu    = 20
    memory = 64
  }
  logs {
    disabled = true
  }
`

// boxed is a bench whose services are containers, with its engine.
type boxed struct {
	*bench
	engine *containers.Engine
}

// withEngine runs f on a stack and a Docker engine of its own, and removes both. Without an
// engine it says so in a section.
func (b *bench) withEngine(ctx context.Context, f func(boxed) ([]section, error)) (out []section, err error) {
	b.logf("starting a Docker engine, Consul, Nomad and an agent")
	engine, err := containers.StartEngine(ctx)
	if errors.Is(err, containers.ErrNoEngine) {
		return []section{{Title: fmt.Sprintf("not measured: %v", err)}}, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		err = errors.Join(err, engine.Stop(stop))
	}()
	if err := b.loadImages(ctx, engine); err != nil {
		return nil, err
	}
	stack, err := harness.Start(ctx, harness.Options{
		Bin: b.bin, Docker: true, DockerEndpoint: engine.Endpoint(), InfraImage: imagePause,
		Extra: "log_level = \"info\"\nqueue_proxy {\n  " + proxyTask + "}\nmesh {\n  sidecar_task {\n    " + envoyTask + "  }\n}\n",
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		err = errors.Join(err, stack.Stop(stop))
	}()
	own := *b
	own.stack = stack
	return f(boxed{&own, engine})
}

func (b *bench) loadImages(ctx context.Context, engine *containers.Engine) error {
	built := func(program string) func() (v1.Image, error) {
		return func() (v1.Image, error) {
			path, err := b.binary(program)
			if err != nil {
				return nil, err
			}
			return containers.Program(path)
		}
	}
	for name, image := range map[string]func() (v1.Image, error){
		imagePause: func() (v1.Image, error) { return containers.Pause(ctx) },
		imageApp:   built("hello"),
		imageProxy: built("queue-proxy"),
		imageEnvoy: func() (v1.Image, error) { return containers.Envoy(ctx) },
	} {
		i, err := image()
		if err == nil {
			err = engine.Load(ctx, name, i)
		}
		if err != nil {
			return fmt.Errorf("make image %s: %w", name, err)
		}
	}
	return nil
}

// kind is a kind of service with containers.
type kind struct {
	what string
	service
	first, rest []string // Images whose containers Docker starts for an instance: in turn, then at once.
}

// kinds are those that this machine can run.
func (b boxed) kinds() []kind {
	all := []kind{{
		what: "host network, mesh off", service: service{name: "boxhost", image: imageApp, scale: byHand}, rest: []string{imageApp, imageProxy},
	}}
	if b.stack.Cluster.Bridge {
		all = append(all, kind{
			what: "bridge network, mesh off", service: service{name: "boxbridge", bridge: true, image: imageApp, scale: byHand},
			first: []string{imagePause}, rest: []string{imageApp, imageProxy},
		})
	}
	if b.stack.Cluster.Mesh {
		all = append(all, kind{
			what: "bridge network with Envoy", service: service{name: "boxmesh", mesh: true, image: imageApp, scale: byHand},
			first: []string{imagePause}, rest: []string{imageApp, imageProxy, imageEnvoy},
		})
	}
	return all
}

// each calls f for each kind of service, with what dials its instances.
func (b boxed) each(ctx context.Context, f func(kind, dialer) (section, error)) (out []section, err error) {
	for _, k := range b.kinds() {
		dial, stop := dialer(plain), func() error { return nil }
		if k.mesh {
			src, stopMember, err := b.member(ctx)
			if err != nil {
				return out, err
			}
			dial, stop = meshDial(src, k.service), stopMember
		}
		s, err := f(k, dial)
		if err = errors.Join(err, stop()); err != nil {
			return out, err
		}
		s.note("load %s at its end", load())
		out = append(out, s)
	}
	if why := b.stack.Cluster.WhyNot; why != "" && len(out) > 0 {
		out[0].note("no others here: %s", why)
	}
	return out, nil
}

// dockerAlone is the row of what Docker itself needs.
const dockerAlone = "Docker alone: creates and starts the containers"

// coldDocker compares cold starts of containers with their floor and with Docker itself.
func coldDocker(ctx context.Context, b *bench) ([]section, error) {
	return b.withEngine(ctx, func(b boxed) ([]section, error) {
		return b.each(ctx, func(k kind, dial dialer) (section, error) {
			c, err := b.coldStarts(ctx, coldTest{
				service: k.service, runs: dockerRuns, dial: dial, labels: []string{dockerAlone},
				beside: func(ctx context.Context, note func(string, time.Duration)) error {
					took, err := b.startAlone(ctx, k)
					note(dockerAlone, took)
					return err
				},
			})
			if err != nil {
				return section{}, err
			}
			c.Title = fmt.Sprintf("cold start of containers, %s, %d times each by turns", k.what, dockerRuns)
			c.judge("p50 against the floor", c.ratio(0), 1.25)
			for _, r := range c.Rows {
				if r.Label == dockerAlone {
					c.note("Docker alone is %.0f %% of the floor's p50", 100*r.Values[0]/c.Rows[1].Values[0])
				}
			}
			return c.section, nil
		})
	})
}

// load is the machine's load average of the last minute.
func load() string {
	text, _ := os.ReadFile("/proc/loadavg") // Without it the note is empty.
	one, _, _ := strings.Cut(string(text), " ")
	return one
}

// queueProxyProgram is the program of the queue-proxy.
func (b *bench) queueProxyProgram() string { return filepath.Join(b.stack.Bin, "queue-proxy") }
