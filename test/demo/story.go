package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wadi-run/wadi/test/harness"
)

const (
	first  = "hello-00001"
	second = "hello-00002"
)

const (
	warmRequests = 30
	loadCallers  = 12 // With a target of 2 requests at once: more than two instances.
	enough       = 3  // Instances under load.

	// patience is for a busy machine; on an idle one no wait takes nearly as long.
	patience = 90 * time.Second
)

// helloHCL is the service of the story. Another generation makes another revision; answer is
// what it answers always, as a query.
func (d *demo) helloHCL(generation int, answer string) string {
	rollout := ""
	if generation > 2 {
		rollout = gate
	}
	return fmt.Sprintf(`service "hello" {
%s%s  instance {
    task "web" {
      driver = "raw_exec"
      config {
        command = "hello"
      }
      env {
        GENERATION = "%d"
        ANSWER     = %q
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
  scale {
    initial = %d
    max     = 4
    window  = "6s"
    metric "concurrency" {
      target      = 2
      utilization = 1
    }
  }
%s}
`, d.network(), d.callers("web", "relay"), generation, answer, min(generation-1, 1), rollout)
}

func (d *demo) network() string {
	if d.mesh {
		return "  mesh    = \"envoy\"\n  network = \"bridge\"\n"
	}
	return "  mesh    = \"off\"\n  network = \"host\"\n"
}

func (d *demo) start(ctx context.Context, o options) (err error) {
	d.print("start", "Consul, Nomad and a Wadi agent begin", "")
	if d.stack, err = harness.Start(ctx, harness.Options{Bin: o.bin}); err != nil {
		return err
	}
	d.mesh, d.noWhy = d.stack.Cluster.Bridge, d.stack.Cluster.WhyNot
	if d.mesh && o.host {
		d.mesh, d.noWhy = false, "as asked for with -host"
	}
	d.print("start", "they answer, and the agent leads", "Nomad UI %s/ui", d.stack.Cluster.NomadAddr)
	if d.mesh {
		d.print("start", "bridge networks work", "services get Envoy, the mesh is on")
	} else {
		d.print("start", "host network, the mesh is off", "%s", d.noWhy)
	}
	return nil
}

// story is all steps between start and stop.
func (d *demo) story(ctx context.Context) error {
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"apply", d.apply},
		{"cold", func(ctx context.Context) error { return d.cold(ctx, "cold", "the first request wakes it") }},
		{"warm", d.warm},
		{"load", d.load},
		{"idle", d.idleAndDeploy},
		{"cold", func(ctx context.Context) error { return d.cold(ctx, "cold again", "a request after the rest wakes it") }},
		{"mesh", d.meshCall},
		{"revision", d.revision},
		{"rollout", d.rollouts},
		{"canary", d.canary},
		{"delete", d.remove},
	} {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

func (d *demo) apply(ctx context.Context) error {
	if err := d.stack.Agent.Apply(ctx, d.helloHCL(1, "")); err != nil {
		return err
	}
	if err := d.count(ctx, first, 0); err != nil {
		return err
	}
	d.print("apply", "hello is submitted and stored", "Nomad job %s, count 0, nothing runs", first)
	return nil
}

// cold sends a request to a service at zero.
func (d *demo) cold(ctx context.Context, step, what string) error {
	before := d.instance
	if err := d.count(ctx, first, 0); err != nil {
		return err
	}
	res, err := d.ask(ctx, "/", first)
	if err != nil {
		return err
	}
	timing := res.Header.Get("Server-Timing")
	if timing == "" {
		return errors.New("the answer has no Server-Timing: it did not wait for an instance")
	}
	if before == d.instance {
		return fmt.Errorf("instance %s answered before and after zero", before)
	}
	if err := d.count(ctx, first, 1); err != nil {
		return err
	}
	d.print(step, what, "%d in %s, count 1, %s", res.Status, round(res.Took), strings.TrimSpace(res.Body))
	d.print(step, "where the time went (ms)", "%s", strings.ReplaceAll(timing, ";dur=", " "))
	return nil
}

func (d *demo) warm(ctx context.Context) error {
	var took []time.Duration
	instance := d.instance
	for range warmRequests {
		res, err := d.ask(ctx, "/", first)
		switch {
		case err != nil:
			return err
		case res.Header.Get("Server-Timing") != "":
			return errors.New("a request to a running instance waited")
		case d.instance != instance:
			return fmt.Errorf("instance %s answered, not %s", d.instance, instance)
		}
		took = append(took, res.Took)
	}
	d.print("warm", fmt.Sprintf("%d requests, one after the other", warmRequests),
		"all 200, p50 %.1f ms, the same instance", float64(quantile(took, .5).Microseconds())/1000)
	return nil
}

// load sends more requests than one instance should carry.
func (d *demo) load(ctx context.Context) error {
	c := d.call(ctx, loadCallers, "/?sleep=200ms")
	defer c.stop()
	d.print("load", fmt.Sprintf("%d callers at once, each asks for 200 ms", loadCallers), "hello is made for 2 at once in an instance")
	err := d.stack.WaitCount(ctx, first, patience, func(n int) bool { return n >= enough })
	if err != nil {
		return err
	}
	d.print("load", "the autoscaler asks for more", "count %d or more", enough)
	err = harness.Eventually(ctx, patience, func() error {
		if n := c.instances(); n < enough {
			return fmt.Errorf("%d instances have answered", n)
		}
		return c.failed()
	})
	if err != nil {
		return err
	}
	c.stop()
	if err := c.failed(); err != nil {
		return err
	}
	running, err := d.stack.Allocs(ctx, first)
	if err != nil {
		return err
	}
	d.print("load", fmt.Sprintf("%d instances have answered", c.instances()),
		"%d requests, all 200, p99 %s, %d allocations", c.total(), round(c.quantile(.99)), len(running))
	return nil
}

// idleAndDeploy waits for zero, and meanwhile submits callers in the mesh.
func (d *demo) idleAndDeploy(ctx context.Context) error {
	d.print("idle", "the load ends", "zero is due after 6 s")
	g, ctx := errgroup.WithContext(ctx)
	if d.mesh {
		g.Go(func() error { return d.stack.Agent.Apply(ctx, d.meshHCL()) })
	}
	if err := d.zero(ctx, "idle"); err != nil {
		return errors.Join(err, g.Wait())
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if d.mesh {
		d.print("idle", "meanwhile: web, a caller in the mesh, is ready", "%s, its own Envoy; relay and vault at zero", caller)
	}
	return nil
}

// zero waits until hello's first revision is at zero and its instances have ended.
func (d *demo) zero(ctx context.Context, step string) error {
	if err := d.stack.WaitCount(ctx, first, patience, func(n int) bool { return n == 0 }); err != nil {
		return err
	}
	d.print(step, "the autoscaler sets zero", "count 0")
	if err := d.stack.WaitGone(ctx, first, patience); err != nil {
		return err
	}
	d.print(step, "nothing of hello runs any more", "every allocation has ended")
	return nil
}

// revision submits a changed instance under load.
func (d *demo) revision(ctx context.Context) error {
	c := d.call(ctx, 1, "/?sleep=20ms")
	defer c.stop()
	if err := d.stack.Agent.Apply(ctx, d.helloHCL(2, "")); err != nil {
		return err
	}
	d.print("revision", "a changed instance is submitted and ready", "Nomad job %s", second)
	err := harness.Eventually(ctx, patience, func() error {
		if got := c.revision(); got != second {
			return fmt.Errorf("%s answers", got)
		}
		return c.failed()
	})
	if err != nil {
		return err
	}
	c.stop()
	if err := c.failed(); err != nil {
		return err
	}
	d.print("revision", "it has taken the traffic", "%d requests meanwhile, all 200", c.total())
	if err := d.stack.WaitCount(ctx, first, patience, func(n int) bool { return n <= 0 }); err != nil {
		return err
	}
	d.print("revision", "the first one goes to zero", "%s count 0", first)
	return nil
}
