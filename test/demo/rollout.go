package main

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/api"
	"github.com/wadi-run/wadi/test/harness"
)

const (
	bad    = "hello-00003" // It answers 500.
	better = "hello-00004"
	fifth  = "hello-00005"
)

// rollouts submits a revision that answers 500, which gives its share back by itself, and
// then a good one.
func (d *demo) rollouts(ctx context.Context) error {
	c := d.watch(ctx, 4)
	defer c.stop()
	if _, err := d.stack.Agent.Submit(ctx, d.helloHCL(3, "status=500")); err != nil {
		return err
	}
	d.print("rollout", "a third revision, which answers 500", "1 %% of the traffic first, then even steps, if the gate lets it")
	status, err := d.rollout(ctx, bad, wadi.RolloutRolledBack)
	if err != nil {
		return err
	}
	if err := d.serves(ctx, second); err != nil {
		return err
	}
	c.stop()
	if err := c.onlyFailed(bad); err != nil {
		return err
	}
	d.print("rollout", "the gate gives its share back", "%s", status.Reason)
	d.print("rollout", "few callers noticed", "%s", c.counts())
	return d.goodRollout(ctx)
}

func (d *demo) goodRollout(ctx context.Context) error {
	c := d.watch(ctx, 4)
	defer c.stop()
	if _, err := d.stack.Agent.Submit(ctx, d.helloHCL(4, "")); err != nil {
		return err
	}
	d.print("rollout", "a fourth one, which is good", "")
	if _, err := d.rollout(ctx, better, wadi.RolloutDone); err != nil {
		return err
	}
	if err := d.serves(ctx, better); err != nil {
		return err
	}
	c.stop()
	if err := c.failed(); err != nil {
		return err
	}
	d.print("rollout", "it has taken over", "%d requests, all 200", c.total())
	return nil
}

// canary gives a tenth of the traffic to a new revision, and then goes back with one call.
func (d *demo) canary(ctx context.Context) error {
	if err := d.share(ctx, map[string]float64{better: 100}); err != nil {
		return err
	}
	if err := d.stack.Agent.Apply(ctx, d.helloHCL(5, "")); err != nil {
		return err
	}
	d.print("canary", "a fifth revision is ready, and gets nothing", "the traffic is set to %s: latest is pinned", better)
	c := d.watch(ctx, 2)
	defer c.stop()
	if err := d.share(ctx, map[string]float64{better: 90, fifth: 10}); err != nil {
		return err
	}
	if err := c.wait(ctx, func() bool { return c.good[fifth] >= 10 }); err != nil {
		return err
	}
	d.print("canary", "it gets 10 % of the traffic", "%s", c.counts())
	if _, err := d.stack.Agent.Client.Rollback(ctx, "hello", api.Rollback{To: better}); err != nil {
		return err
	}
	if err := d.serves(ctx, better); err != nil {
		return err
	}
	c.stop()
	if err := c.failed(); err != nil {
		return err
	}
	d.print("canary", "a rollback: all goes to the one before again", "%d requests in all, all 200", c.total())
	return nil
}

// share sets all of the traffic.
func (d *demo) share(ctx context.Context, percents map[string]float64) error {
	var t api.Traffic
	for revision, percent := range percents {
		t.Targets = append(t.Targets, api.Target{Revision: revision, Percent: &percent})
	}
	_, err := d.stack.Agent.Client.SetTraffic(ctx, "hello", t)
	return err
}

// serves waits until all of the traffic is at a revision, and callers are led there.
func (d *demo) serves(ctx context.Context, revision string) error {
	return harness.Eventually(ctx, patience, func() error {
		s, err := d.stack.Agent.Client.Service(ctx, "hello")
		if err != nil {
			return err
		}
		if t := s.Status.Traffic; len(t) != 1 || t[0].Revision != revision || s.Status.Phase != "ready" {
			return fmt.Errorf("hello is %s, with the traffic %+v", s.Status.Phase, t)
		}
		_, err = d.ask(ctx, "/", revision)
		return err
	})
}

// rollout waits until the rollout of a revision has come to a phase, and prints its steps.
func (d *demo) rollout(ctx context.Context, revision string, want wadi.RolloutPhase) (r wadi.RolloutStatus, err error) {
	step := 0
	err = harness.Eventually(ctx, patience, func() error {
		s, err := d.stack.Agent.Client.Service(ctx, "hello")
		if err != nil {
			return err
		}
		if s.Status.Rollout == nil || s.Status.Rollout.Revision != revision {
			return fmt.Errorf("no rollout of %s has begun", revision)
		}
		r = *s.Status.Rollout
		if r.Step > step && r.UnderWay() {
			step = r.Step
			d.print("rollout", fmt.Sprintf("step %d of %d", r.Step, r.Steps), "%s has %g %%", r.Revision, r.Percent)
		}
		switch {
		case r.Phase == want:
			return nil
		case !r.UnderWay():
			return harness.Final(fmt.Errorf("the rollout of %s is %s: %s", revision, r.Phase, r.Reason))
		}
		return fmt.Errorf("the rollout of %s is %s: %s", revision, r.Phase, r.Reason)
	})
	return r, err
}

// watched are callers that count what each revision answers.
type watched struct {
	running sync.WaitGroup
	cancel  context.CancelFunc

	mu        sync.Mutex
	good, odd map[string]int // By revision; odd are not 200.
	err       error          // The first answer that is of no revision.
}

// watch starts n callers, each sending one request after the other.
func (d *demo) watch(ctx context.Context, n int) *watched {
	c := &watched{good: map[string]int{}, odd: map[string]int{}}
	ctx, c.cancel = context.WithCancel(ctx)
	for range n {
		c.running.Go(func() {
			for ctx.Err() == nil {
				// A request that has begun is completed, so that none fails by stop.
				res, err := d.stack.Agent.Get(context.WithoutCancel(ctx), "hello", "/")
				c.add(res, err)
			}
		})
	}
	return c
}

func (c *watched) add(res harness.Response, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch revision := res.Header.Get("Hello-Revision"); {
	case c.err != nil:
	case err != nil:
		c.err = err
	case revision == "":
		c.err = fmt.Errorf("status %d: %s", res.Status, strings.TrimSpace(res.Body))
	case res.Status == 200:
		c.good[revision]++
	default:
		c.odd[revision]++
	}
}

// wait waits until is holds.
func (c *watched) wait(ctx context.Context, is func() bool) error {
	return harness.Eventually(ctx, patience, func() error {
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case c.err != nil:
			return harness.Final(fmt.Errorf("a caller: %w", c.err))
		case !is():
			return fmt.Errorf("callers got %v and, not 200, %v", c.good, c.odd)
		}
		return nil
	})
}

// stop waits until the callers' requests are answered.
func (c *watched) stop() {
	c.cancel()
	c.running.Wait()
}

// failed is an error if an answer was not 200.
func (c *watched) failed() error { return c.onlyFailed("") }

// onlyFailed is an error if an answer was not 200 that was of another revision.
func (c *watched) onlyFailed(revision string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return fmt.Errorf("a caller: %w", c.err)
	}
	for other, n := range c.odd {
		if other != revision {
			return fmt.Errorf("%d requests to %s failed", n, other)
		}
	}
	return nil
}

func (c *watched) total() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.good {
		n += m
	}
	return n
}

// counts says how many requests each revision answered.
func (c *watched) counts() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var parts []string
	for _, revision := range []string{second, bad, better, fifth} {
		if n := c.good[revision]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d of %s", n, revision))
		}
		if n := c.odd[revision]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d of %s, all 500", n, revision))
		}
	}
	return strings.Join(parts, ", ")
}

// gate is the rollout block of later revisions, for few requests and a short story.
const gate = `  rollout {
    duration          = "6s"
    steps             = 2
    max_error_percent = 20
  }
`
