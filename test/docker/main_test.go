//go:build e2e

// Package docker_test proves what Wadi promises to services whose tasks are containers, on
// a Docker engine and a registry of its own. The queue-proxy and Envoy are containers too;
// Envoy is Nomad's default sidecar task.
//
// All tests share the engine, the registry and one cluster with one agent.
package docker_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/containers"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// What all tests share.
var (
	engine *containers.Engine
	stack  *harnesstest.Stack
	images = map[string]string{} // Names in the registry, by what is in them.
	shared string                // A folder of this machine: Nomad's host volume "shared", and /shared of exec and java tasks.
)

func TestMain(m *testing.M) {
	flag.Parse()
	containers.Main("the docker driver", func(ctx context.Context, e *containers.Engine) (int, error) {
		engine = e
		return run(ctx, m)
	})
}

func run(ctx context.Context, m *testing.M) (code int, err error) {
	registry, err := containers.StartRegistry(containers.RegistryOptions{})
	if err != nil {
		return 0, err
	}
	defer registry.Close()
	if err := pushImages(ctx, registry); err != nil {
		return 0, err
	}
	root, err := harness.Root()
	if err != nil {
		return 0, err
	}
	if shared, err = os.MkdirTemp("/tmp", "wadi-docker-volume-"); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(shared)) }()
	return harnesstest.Run(m, &stack, harnesstest.Options{Parallel: 6, Stack: harness.Options{
		Docker: true, DockerEndpoint: engine.Endpoint(), InfraImage: images["pause"],
		NomadClientHCL: clientHCL(root), Java: true, Extra: agentHCL(images["queue-proxy"]),
	}}), nil
}

// clientHCL is about Nomad's node. Its Envoy is that of Nomad's default sidecar task. The
// folders of exec and java tasks have only what the tests need: the whole /usr takes long.
func clientHCL(root string) string {
	chroot := fmt.Sprintf("  %q = \"/apps/hello\"\n  %q = \"/shared\"\n", filepath.Join(root, "bin", "hello"), shared)
	for _, path := range javaFiles() {
		if file, err := filepath.EvalSymlinks(path); err == nil { // Nomad links what it is given.
			chroot += fmt.Sprintf("  %q = %q\n", file, path)
		}
	}
	return fmt.Sprintf("meta {\n  \"connect.sidecar_image\" = %q\n}\nhost_volume \"shared\" {\n  path = %q\n}\nchroot_env {\n%s}\n", images["envoy"], shared, chroot)
}

// javaFiles is what a Java program needs besides the kernel; nothing where there is no Java.
func javaFiles() []string {
	java, err := exec.LookPath("java")
	if err == nil {
		java, err = filepath.EvalSymlinks(java)
	}
	if err != nil {
		return nil
	}
	home := filepath.Dir(filepath.Dir(java))
	files := []string{home, "/etc"}
	for _, linked := range []string{"bin/java", "lib/server/libjvm.so", "lib/libnio.so", "lib/libnet.so"} {
		libraries, err := containers.Libraries(context.Background(), filepath.Join(home, linked))
		if err != nil {
			return nil // The test says that the driver fails.
		}
		for _, l := range libraries {
			if !strings.HasPrefix(l, home) && !slices.Contains(files, l) {
				files = append(files, l)
			}
		}
	}
	return files
}

// agentHCL is about the agent's tasks. Envoy's asks for less than Nomad's default does, as
// this machine may be small.
func agentHCL(queueProxy string) string {
	return fmt.Sprintf(`queue_proxy {
  driver = "docker"
  config {
    image = %q
  }
  resources {
    cpu    = 20
    memory = 64
  }
  logs {
    disabled = true
  }
}
mesh {
  sidecar_task {
    driver = "docker"
    resources {
      cpu    = 20
      memory = 128
    }
  }
}
`, queueProxy)
}

func pushImages(ctx context.Context, registry *containers.Registry) error {
	for name, makeImage := range map[string]func() (v1.Image, error){
		"pause":       func() (v1.Image, error) { return containers.Pause(ctx) },
		"queue-proxy": func() (v1.Image, error) { return containers.Built("queue-proxy") },
		"hello":       func() (v1.Image, error) { return containers.Built("hello") },
		"envoy":       func() (v1.Image, error) { return containers.Envoy(ctx) },
		"inside":      func() (v1.Image, error) { return containers.Compiled(ctx, "./test/apps/inside") },
		"args": func() (v1.Image, error) {
			return containers.Compiled(ctx, "./test/apps/inside", containers.Entrypoint("/inside", "-also", "127.0.0.1:7001"), containers.Cmd("from", "the", "image"))
		},
		"unhealthy": func() (v1.Image, error) {
			return containers.Compiled(ctx, "./test/apps/inside",
				containers.Healthcheck(v1.HealthConfig{Test: []string{"CMD", "/no/such/program"}, Interval: time.Second, Retries: 1}))
		},
		"fixed": func() (v1.Image, error) {
			return containers.Compiled(ctx, "./test/apps/inside", containers.User("65534:65534"), containers.Expose("8080/tcp"),
				containers.Entrypoint("/inside", "-listen", "0.0.0.0:8080"), containers.Env("FROM_IMAGE=yes"))
		},
	} {
		image, err := makeImage()
		if err != nil {
			return err
		}
		if _, err := registry.Push(name+":1", image); err != nil {
			return err
		}
		images[name] = registry.Ref(name + ":1")
	}
	images["missing"] = registry.Ref("missing:1")
	return nil
}

// service is a service with one container. Its texts are HCL; what is empty has defaults.
type service struct {
	name, network, mesh string // Default: bridge, off.
	image               string // Of images; default: inside.
	config, task, group string // Inside the task's config, the task and the instance.
	memory              int    // In MB; default: 64.
	more                string // Inside the service.
}

func (s service) String() string {
	or := func(s, other string) string {
		if s == "" {
			return other
		}
		return s
	}
	if s.memory == 0 {
		s.memory = 64
	}
	return fmt.Sprintf(`service %q {
  network = %q
  mesh    = %q
  instance {
    %s
    task "web" {
      driver = "docker"
      config {
        image = %q
        %s
      }
      resources {
        cpu    = 20
        memory = %d
      }
      %s
    }
  }
  timeout {
    progress = "3m"
  }
  %s
}
`, s.name, or(s.network, "bridge"), or(s.mesh, "off"), s.group, images[or(s.image, "inside")], s.config, s.memory, s.task, s.more)
}

// deploy brings a service up with an instance that stays, and deletes it at the end.
func deploy(t *testing.T, s service) []api.SubmittedService {
	t.Helper()
	if !strings.Contains(s.more, "scale {") {
		s.more += "\n  scale {\n    min = 1\n    max = 1\n  }\n"
	}
	if !stack.Cluster.Bridge && s.network != "host" {
		t.Skip("no bridge networks on this machine:", stack.Cluster.WhyNot)
	}
	return stack.Deploy(t, s.String())
}

// ask is the text of a good answer of a service.
func ask(t *testing.T, service, path string) string {
	t.Helper()
	res := stack.Get(t, service, path)
	if res.Status != 200 {
		t.Fatalf("%s%s: got %d %q\n%s", service, path, res.Status, res.Body, stack.TasksOf(service))
	}
	return res.Body
}

// expect fails the test unless a service answers so.
func expect(t *testing.T, service, path, want string) {
	t.Helper()
	if got := ask(t, service, path); got != want {
		t.Errorf("%s%s: got %q, want %q", service, path, got, want)
	}
}

// container is the ID of the engine's container of a task of a service's only instance.
func container(t *testing.T, revision, task string) string {
	t.Helper()
	var id string
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		allocs, err := stack.Allocs(t.Context(), revision)
		if err != nil || len(allocs) != 1 {
			return fmt.Errorf("%d instances of %s (%v), want one", len(allocs), revision, err)
		}
		id, err = engine.Docker(t.Context(), "ps", "-q", "--no-trunc", "--filter", "name="+task+"-"+allocs[0].ID)
		if err == nil && id == "" {
			err = fmt.Errorf("no container of %s, task %s", revision, task)
		}
		return err
	})
	return strings.TrimSpace(id)
}
