//go:build e2e

package dev_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/containers"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// A node that removes the image of a service at zero pulls it at the next wake. The doctor
// says so: by the client's own word at its agent, and by what the node pulled.
func TestDoctor_NodesThatRemoveImages(t *testing.T) {
	t.Parallel()
	n := arrive(t)
	registry, err := containers.StartRegistry(containers.RegistryOptions{})
	harnesstest.Must(t, "start a registry", err)
	t.Cleanup(registry.Close)
	image, err := containers.Built("hello")
	harnesstest.Must(t, "make an image", err)
	_, err = registry.Push("hello:1", image)
	harnesstest.Must(t, "push it", err)
	s, err := harness.Start(t.Context(), harness.Options{Docker: true, DockerEndpoint: n.engine.Endpoint(), ImageDelay: time.Second})
	harnesstest.Must(t, "start a stack", err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
		defer cancel()
		harnesstest.Must(t, "stop the stack", s.Stop(ctx))
	})
	const removes, pulls = "removes an image 1s after its last container", "1 node pulled an image again"
	wantReport := func(when string, want ...bool) {
		t.Helper()
		harnesstest.Eventually(t, harnesstest.WaitLong, func() error { // The agent gives an answer again for some seconds.
			r, err := s.Agent.Wadi(t.Context(), "", "doctor")
			if err != nil || strings.Contains(r.Stdout, removes) != want[0] || strings.Contains(r.Stdout, pulls) != want[1] {
				return fmt.Errorf("%s the doctor says (%v)\n%s", when, err, r.Stdout)
			}
			return nil
		})
	}
	wantReport("without containers", false, false)
	harnesstest.Must(t, "apply", s.Agent.Apply(t.Context(), fmt.Sprintf(`service "boxed" {
  mesh    = "off"
  network = "host"
  instance {
    task "web" {
      driver = "docker"
      config {
        image = %q
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
  scale {
    window = "6s"
  }
}
`, registry.Ref("hello:1"))))
	wantReport("after one pull", true, false)
	// A pull counts as another one when it is a minute after the first.
	first := time.Now()
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		if got := n.docker("images", "--quiet"); len(got) > 0 {
			return fmt.Errorf("the engine has images yet: %v", got)
		}
		if time.Since(first) < time.Minute {
			return errors.New("it is too soon")
		}
		return nil
	})
	res, err := s.Agent.Get(t.Context(), "boxed", "/")
	if err != nil || res.Status != 200 {
		t.Fatalf("got %+v, %v", res, err)
	}
	wantReport("after two pulls", true, true)
	harnesstest.Eventually(t, harnesstest.WaitLong, func() error {
		if log := s.Agent.Tail(100_000); !strings.Contains(log, "images were pulled again by nodes that had them") || !strings.Contains(log, "/hello@sha256:") {
			return fmt.Errorf("the log does not name the image:\n%.10000s", log)
		}
		return nil
	})
}
