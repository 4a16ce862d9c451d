//go:build e2e

// Package docker_test runs a service whose tasks are containers, on a Docker engine that
// it starts itself, with images that it builds itself.
package docker_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/test/harness"
)

// engine is the test's own Docker engine. It has no bridge and writes no firewall rules:
// networks are Nomad's.
type engine struct {
	dir, socket string
	cmd         *exec.Cmd
	log         bytes.Buffer
}

func startEngine(t *testing.T) *engine {
	t.Helper()
	dockerd, err := exec.LookPath("dockerd")
	if err != nil {
		t.Skip("no Docker engine (dockerd) on PATH")
	}
	if os.Getuid() != 0 {
		t.Skip("a Docker engine needs root")
	}
	dir, err := os.MkdirTemp("/tmp", "wadi-docker-") // Short: sockets are in it.
	if err != nil {
		t.Fatal(err)
	}
	e := &engine{dir: dir, socket: "unix://" + filepath.Join(dir, "d.sock")}
	t.Cleanup(func() { e.stop(t) })
	e.cmd = exec.Command(dockerd, "--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"),
		"--pidfile", filepath.Join(dir, "pid"), "--host", e.socket, "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false")
	e.cmd.Stdout, e.cmd.Stderr = &e.log, &e.log
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	err = harness.Eventually(t.Context(), time.Minute, func() error {
		_, err := e.docker(nil, "version")
		return err
	})
	if err != nil {
		t.Fatalf("Docker engine did not start: %v", err)
	}
	return e
}

func (e *engine) stop(t *testing.T) {
	if e.cmd != nil && e.cmd.Process != nil {
		_ = e.cmd.Process.Signal(syscall.SIGTERM)
		done := make(chan error, 1)
		go func() { done <- e.cmd.Wait() }()
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			_ = e.cmd.Process.Kill()
			<-done
		}
	}
	if t.Failed() {
		t.Logf("engine's log:\n%s", tail(e.log.String(), 20))
	}
	e.unmount(t)
	if err := os.RemoveAll(e.dir); err != nil {
		t.Errorf("remove the engine's folder: %v", err)
	}
}

// unmount unmounts what a killed engine has left mounted.
func (e *engine) unmount(t *testing.T) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Error(err)
		return
	}
	lines := strings.Split(string(mounts), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if f := strings.Fields(lines[i]); len(f) > 1 && strings.HasPrefix(f[1], e.dir+"/") {
			_ = syscall.Unmount(f[1], syscall.MNT_DETACH)
		}
	}
}

func tail(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func (e *engine) docker(stdin []byte, args ...string) (string, error) {
	cmd := exec.Command("docker", append([]string{"--host", e.socket}, args...)...)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("docker %s: %w\n%s", args[0], err, out)
	}
	return string(out), nil
}

// image builds an image with one static program.
func (e *engine) image(t *testing.T, name, program string) {
	t.Helper()
	content, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	base := filepath.Base(program)
	if err := w.WriteHeader(&tar.Header{Name: base, Mode: 0o755, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.docker(layer.Bytes(), "import", "--change", `ENTRYPOINT ["/`+base+`"]`, "-", name); err != nil {
		t.Fatal(err)
	}
}

func TestDocker(t *testing.T) {
	e := startEngine(t)
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	pause := filepath.Join(t.TempDir(), "pause")
	build := exec.Command("go", "build", "-o", pause, "./test/docker/pause")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build pause: %v\n%s", err, out)
	}
	e.image(t, "wadi-test/pause:1", pause)
	e.image(t, "wadi-test/queue-proxy:1", filepath.Join(root, "bin", "queue-proxy"))
	e.image(t, "wadi-test/hello:1", filepath.Join(root, "bin", "hello"))

	s, err := harness.Start(t.Context(), harness.Options{
		Docker: true, DockerEndpoint: e.socket, InfraImage: "wadi-test/pause:1",
		Extra: `queue_proxy {
  driver = "docker"
  config {
    image = "wadi-test/queue-proxy:1"
  }
  resources {
    cpu    = 20
    memory = 64
  }
}
`,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
		defer cancel()
		if t.Failed() {
			t.Logf("agent's log:\n%s", s.Agent.Tail(40))
		}
		if err := s.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	t.Run("from zero and back", func(t *testing.T) { fromZeroAndBack(t, s) })
	t.Run("want of memory", func(t *testing.T) { wantOfMemory(t, s) })
	t.Run("missing image", func(t *testing.T) { missingImage(t, s) })
}

func service(name, image string) string {
	return fmt.Sprintf(`service %q {
  instance {
    task "web" {
      driver = "docker"
      config {
        image = %q
      }
      resources {
        cpu    = 20
        memory = 64
      }
    }
  }
  scale {
    window = "6s"
  }
  timeout {
    progress = "20s"
  }
}
`, name, image)
}

func fromZeroAndBack(t *testing.T, s *harness.Stack) {
	ctx := t.Context()
	if err := s.Agent.Apply(ctx, service("boxed", "wadi-test/hello:1")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.WaitCount(ctx, "boxed-00001", 90*time.Second, func(n int) bool { return n == 0 }); err != nil {
			t.Fatal(err)
		}
		if err := s.WaitGone(ctx, "boxed-00001", 90*time.Second); err != nil {
			t.Fatal(err)
		}
		res, err := s.Agent.Get(ctx, "boxed", "/")
		if err != nil {
			t.Fatal(err)
		}
		if res.Status != 200 || !strings.HasPrefix(res.Body, "hello from boxed-00001") {
			t.Fatalf("answer %d %q", res.Status, res.Body)
		}
		t.Logf("cold answer after %v (%s)", res.Took.Round(time.Millisecond), res.Header.Get("Server-Timing"))
	}
	if err := s.Agent.Delete(ctx, "boxed"); err != nil {
		t.Fatal(err)
	}
}

// wantOfMemory lets the kernel kill the app for using more memory than it has.
func wantOfMemory(t *testing.T, s *harness.Stack) {
	ctx := t.Context()
	if err := s.Agent.Apply(ctx, service("hungry", "wadi-test/hello:1")); err != nil {
		t.Fatal(err)
	}
	if res, err := s.Agent.Get(ctx, "hungry", "/?take=200000000"); err != nil || res.Status != 502 {
		t.Fatalf("got %+v (%v), want 502 from an app that is killed", res, err)
	}
	const oom = "the app (task web) was killed for want of memory"
	err := s.Agent.WaitCondition(ctx, "hungry", time.Minute, "that "+oom, func(c wadi.Condition) bool {
		return c.Type == control.ConditionSteady && c.Reason == control.ReasonOOM && strings.HasPrefix(c.Message, "hungry-00001: "+oom)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Agent.Wadi(ctx, "", "events", "-service", "hungry"); err != nil || !strings.Contains(got.Stdout, control.EventOOM) {
		t.Errorf("got %+v (%v), want an event of it", got, err)
	}
	if err := s.Agent.Delete(ctx, "hungry"); err != nil {
		t.Fatal(err)
	}
}

// missing names an image of a registry that nothing listens at: the engine must not ask a
// registry outside of this machine.
const missing = "127.0.0.1:1/wadi-test/nothing:1"

func missingImage(t *testing.T, s *harness.Stack) {
	err := s.Agent.Apply(t.Context(), service("unboxed", missing))
	if err == nil || !strings.Contains(err.Error(), missing) {
		t.Fatalf("apply of a missing image: %v, want Nomad's reason with the image's name", err)
	}
	t.Logf("reason: %v", err)
	if err := s.Agent.Delete(t.Context(), "unboxed"); err != nil {
		t.Fatal(err)
	}
}
