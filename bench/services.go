package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
)

// service is the example app with the settings of a benchmark.
type service struct {
	name   string
	mesh   bool   // With Envoy in a bridge network; else without, in the host's network.
	bridge bool   // Without Envoy in a bridge network.
	image  string // The app is a container of it; empty: a program.
	env    string
	scale  string // The inside of the scale block.
	more   string // More of the service block.
}

func (s service) hcl() string {
	network := "  mesh = \"off\"\n  network = \"host\"\n"
	switch {
	case s.bridge:
		network = "  mesh = \"off\"\n  network = \"bridge\"\n"
	case s.mesh:
		network = "  mesh = \"envoy\"\n  network = \"bridge\"\n"
	}
	driver, config := "raw_exec", `command = "hello"`
	if s.image != "" {
		driver, config = "docker", fmt.Sprintf("image = %q", s.image)
	}
	return fmt.Sprintf(`service %q {
%s  instance {
    task "web" {
      driver = %q
      config {
        %s
      }
      env {
        ADDR = "0.0.0.0" # It is also asked past its queue-proxy, to compare.
        %s
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
  scale {
    %s
  }
  %s
}
`, s.name, network, driver, config, s.env, s.scale, s.more)
}

func (s service) revision() string { return wadi.RevisionID(s.name, 1) }

// byHand turns the autoscaler off (dry run): the benchmark sets the count back to zero
// itself, and nothing else changes it.
const byHand = "initial = 0\n    window = \"6s\"\n    dry_run = true"

// apply submits services at zero and waits until they are ready.
func (b *bench) apply(ctx context.Context, services ...service) error {
	const atOnce = 16 // Services in one submission.
	for len(services) > 0 {
		n := min(atOnce, len(services))
		var hcl strings.Builder
		for _, s := range services[:n] {
			hcl.WriteString(s.hcl())
		}
		if err := b.stack.Agent.Apply(ctx, hcl.String()); err != nil {
			return err
		}
		services = services[n:]
	}
	return nil
}

// remove deletes services and waits until they are gone.
func (b *bench) remove(ctx context.Context, services ...service) error {
	var errs []error
	for _, s := range services {
		_, err := b.stack.Agent.Client.Delete(ctx, s.name, 0, 0)
		errs = append(errs, err)
	}
	for _, s := range services {
		errs = append(errs, harness.Eventually(ctx, time.Minute, func() error {
			_, err := b.stack.Agent.Client.Service(ctx, s.name)
			if errors.Is(err, wadi.ErrNotFound) {
				return nil
			}
			return fmt.Errorf("%s is still there: %v", s.name, err)
		}))
	}
	return errors.Join(errs...)
}

// scale sets the count of a job, as any user of Nomad can.
func (b *bench) scale(ctx context.Context, job string, count int) error {
	group := wadi.GroupInstance
	_, _, err := b.stack.Nomad.Jobs().Scale(job, group, &count, "", false, nil, (&nomad.WriteOptions{}).WithContext(ctx))
	if err != nil {
		return fmt.Errorf("scale %s to %d: %w", job, count, err)
	}
	return nil
}

// ask sends a request through the gateway, and fails unless the answer is 200.
func (b *bench) ask(ctx context.Context, s service, path string) (harness.Response, error) {
	res, err := b.stack.Agent.Get(ctx, s.name, path)
	if err == nil && res.Status != 200 {
		err = fmt.Errorf("%s answered %d: %s", s.name, res.Status, res.Body)
	}
	return res, err
}
