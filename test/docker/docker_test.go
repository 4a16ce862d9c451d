//go:build e2e

// Package docker_test runs services whose tasks are containers, on a Docker engine and a
// registry of its own.
package docker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/agent/control"
	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/containers"
)

func TestDocker(t *testing.T) {
	ctx := t.Context()
	e, err := containers.StartEngine(ctx)
	if errors.Is(err, containers.ErrNoEngine) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("engine's log:\n%s", e.Log(20))
		}
		if err := e.Stop(context.WithoutCancel(ctx)); err != nil {
			t.Errorf("stop the engine: %v", err)
		}
	})
	registry, err := containers.StartRegistry(containers.RegistryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(registry.Close)
	image := func(ref string, image v1.Image, err error) string {
		if err == nil {
			_, err = registry.Push(ref, image)
		}
		if err != nil {
			t.Fatal(err)
		}
		return registry.Ref(ref)
	}
	pause, err := containers.Pause(ctx)
	infra := image("pause:1", pause, err)
	proxy, err := containers.Built("queue-proxy")
	queueProxy := image("queue-proxy:1", proxy, err)
	app, err := containers.Built("hello")
	hello := image("hello:1", app, err)

	s, err := harness.Start(t.Context(), harness.Options{
		Docker: true, DockerEndpoint: e.Endpoint(), InfraImage: infra,
		Extra: fmt.Sprintf(`queue_proxy {
  driver = "docker"
  config {
    image = %q
  }
  resources {
    cpu    = 20
    memory = 64
  }
}
`, queueProxy),
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
	t.Run("from zero and back", func(t *testing.T) { fromZeroAndBack(t, s, hello) })
	t.Run("want of memory", func(t *testing.T) { wantOfMemory(t, s, hello) })
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

func fromZeroAndBack(t *testing.T, s *harness.Stack, image string) {
	ctx := t.Context()
	if err := s.Agent.Apply(ctx, service("boxed", image)); err != nil {
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
func wantOfMemory(t *testing.T, s *harness.Stack, image string) {
	ctx := t.Context()
	if err := s.Agent.Apply(ctx, service("hungry", image)); err != nil {
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
