package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	consul "github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi/test/harness"
)

// count checks a job's count in Nomad.
func (d *demo) count(ctx context.Context, revision string, want int) error {
	got, err := d.stack.Count(ctx, revision)
	if err == nil && got != want {
		err = fmt.Errorf("%s has count %d, want %d", revision, got, want)
	}
	return err
}

// ask asks hello through the gateway, and wants an answer of a revision.
func (d *demo) ask(ctx context.Context, path, revision string) (harness.Response, error) {
	res, err := d.stack.Agent.Get(ctx, "hello", path)
	if err == nil {
		err = d.note(res, revision)
	}
	return res, err
}

// note checks an answer of hello and remembers which instance gave it.
func (d *demo) note(res harness.Response, revision string) error {
	got, instance, err := answered(res)
	if err == nil && got != revision {
		err = fmt.Errorf("%s answered, want %s", got, revision)
	}
	d.instance = instance
	return err
}

// answered parses an answer: "hello from hello-00001 (instance 1a2b3c4d)".
func answered(res harness.Response) (revision, instance string, err error) {
	if res.Status != http.StatusOK {
		return "", "", fmt.Errorf("status %d: %s", res.Status, strings.TrimSpace(res.Body))
	}
	if _, err := fmt.Sscanf(res.Body, "hello from %s (instance %8s)", &revision, &instance); err != nil {
		return "", "", fmt.Errorf("read answer %q: %w", res.Body, err)
	}
	return revision, instance, nil
}

// callers send requests one after another, each by itself, until they are stopped.
type callers struct {
	running sync.WaitGroup
	cancel  context.CancelFunc

	mu   sync.Mutex
	took []time.Duration
	seen map[string]int // Answers by instance.
	last string         // Revision of the last answer.
	err  error          // The first.
}

func (d *demo) call(ctx context.Context, n int, path string) *callers {
	c := &callers{seen: map[string]int{}}
	ctx, c.cancel = context.WithCancel(ctx)
	for range n {
		c.running.Go(func() {
			for ctx.Err() == nil {
				// A request that has begun is completed, so that none fails by stop.
				res, err := d.stack.Agent.Get(context.WithoutCancel(ctx), "hello", path)
				if !c.add(res, err) {
					return
				}
			}
		})
	}
	return c
}

// add records an answer, and reports whether it was right.
func (c *callers) add(res harness.Response, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	var revision, instance string
	if err == nil {
		revision, instance, err = answered(res)
	}
	if err != nil {
		c.err = errors.Join(c.err, err)
		return false
	}
	c.took = append(c.took, res.Took)
	c.seen[instance]++
	c.last = revision
	return true
}

// stop waits until the callers' requests are answered.
func (c *callers) stop() {
	c.cancel()
	c.running.Wait()
}

// failed is the first error; after it, waiting is pointless.
func (c *callers) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return harness.Final(fmt.Errorf("a caller: %w", c.err))
	}
	return nil
}

func (c *callers) instances() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.seen)
}

func (c *callers) revision() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

func (c *callers) total() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.took)
}

func (c *callers) quantile(q float64) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return quantile(c.took, q)
}

// remove deletes the services and checks that nothing is left of them.
func (d *demo) remove(ctx context.Context) error {
	revisions, services := []string{first, second, bad, better, fifth}, []string{"hello"}
	if d.mesh {
		revisions, services = append(revisions, caller, relay, vault), append(services, "web", "relay", "vault")
	}
	for _, s := range services {
		if _, err := d.stack.Agent.Client.Delete(ctx, s, 0, 0); err != nil {
			return err
		}
	}
	d.print("delete", strings.Join(services, ", ")+" marked", "instances drain")
	for _, s := range services {
		if err := harness.Eventually(ctx, patience, func() error { return d.forgotten(ctx, s) }); err != nil {
			return err
		}
	}
	for _, r := range revisions {
		err := errors.Join(d.count(ctx, r, -1), d.stack.WaitGone(ctx, r, patience))
		if err != nil {
			return err
		}
	}
	d.print("delete", "nothing of them is left in Nomad", "no job, every allocation has ended")
	d.print("delete", "nor in Consul, nor at the gateway", "no service, entry or key; 404 at the gateway")
	return nil
}

// forgotten checks that neither the gateway nor Consul knows a service.
func (d *demo) forgotten(ctx context.Context, service string) error {
	res, err := d.stack.Agent.Get(ctx, service, "/")
	if err != nil {
		return err
	}
	if res.Status != http.StatusNotFound {
		return fmt.Errorf("the gateway answers %d for %s", res.Status, service)
	}
	q := (&consul.QueryOptions{}).WithContext(ctx)
	found, _, err := d.stack.Consul.Catalog().Service(service, "", q)
	if err != nil {
		return err
	}
	if len(found) > 0 {
		return fmt.Errorf("find %d instances of %s in Consul, want none", len(found), service)
	}
	for _, kind := range []string{consul.ServiceDefaults, consul.ServiceResolver, consul.ServiceSplitter, consul.ServiceRouter, consul.ServiceIntentions} {
		entries, _, err := d.stack.Consul.ConfigEntries().List(kind, q)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.GetName() == service {
				return fmt.Errorf("find %s %s in Consul, want none", kind, service)
			}
		}
	}
	keys, _, err := d.stack.Consul.KV().Keys("wadi/", "", q)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if strings.Contains(k+"/", "/"+service+"/") {
			return fmt.Errorf("find the key %s in Consul, want none", k)
		}
	}
	return nil
}

// stop ends all processes, and checks that they have ended.
func (d *demo) stop(ctx context.Context) error {
	d.print("stop", "agent, Nomad and Consul are asked to end", "")
	pids := map[string]int{"the agent": d.stack.Agent.PID(), "Nomad": d.stack.Cluster.Nomad.PID(), "Consul": d.stack.Cluster.Consul.PID()}
	if err := d.stack.Stop(ctx); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	for name, pid := range pids {
		if pid > 0 && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			return fmt.Errorf("stop: %s (process %d) still runs", name, pid)
		}
	}
	for _, dir := range []string{d.stack.Dir, d.stack.Cluster.Dir} {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("stop: %s is left", dir)
		}
	}
	d.print("stop", "they have ended", "no process and no folder is left")
	return nil
}
