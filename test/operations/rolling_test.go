//go:build e2e

package operations_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// Two agents behind a load balancer are replaced one after the other, and no request is lost.
// They talk to Nomad by the socket that it gives each task.
func rollingUpdate(t *testing.T, c *cluster, all []harnesstest.Step) {
	dir := t.TempDir()
	sh := harnesstest.NewShell(t, dir, append(c.env(dir), "NOMAD_VAR_agents=2", "NOMAD_VAR_apart=false", // On one node, ports are any.
		"NOMAD_VAR_api_port=0", "NOMAD_VAR_metrics_port=0", "NOMAD_VAR_activator_port=0", "NOMAD_VAR_gateway_port=0",
		"NOMAD_VAR_nomad_address=unix://${NOMAD_SECRETS_DIR}/api.sock"))
	for _, st := range all { // Until the agents run.
		if strings.Contains(st.Script, "nomad job run wadi.nomad.hcl") {
			programsComeLater(t, c, sh)
		}
		sh.Run(t, st)
		if strings.Contains(st.Script, "nomad job run wadi.nomad.hcl") {
			break
		}
	}
	b := &balancer{cluster: c, client: &http.Client{Timeout: time.Minute}}
	b.look(t)
	if len(b.ready) != 2 {
		t.Fatalf("%d gateways are ready, want 2", len(b.ready))
	}
	if err := os.WriteFile(filepath.Join(dir, "rolled.hcl"), []byte(harnesstest.Hello("rolled", "min = 1", "")), 0o600); err != nil {
		t.Fatal(err)
	}
	sh.Run(t, harnesstest.Step{Script: "wadi apply -address " + b.api + " " + filepath.Join(dir, "rolled.hcl")})
	before := b.allocs
	b.keepLooking(t)
	long := b.longRequests(t.Context())
	load := harnesstest.StartWorkers(t, 4, 50*time.Millisecond, func(ctx context.Context) (string, error) { return b.send(ctx, "/") })
	sh.Run(t, harnesstest.Step{Script: "nomad job run -var log_level=debug wadi.nomad.hcl"})
	load.WantAll(t, 100)
	for range cap(long) {
		if err := <-long; err != nil {
			t.Errorf("a request that was in flight at an agent's stop: %v", err)
		}
	}
	b.look(t)
	for id := range before {
		if b.allocs[id] {
			t.Errorf("the agent %s was not replaced", id)
		}
	}
	if len(b.ready) != 2 {
		t.Errorf("%d gateways are ready, want 2", len(b.ready))
	}
	sh.Run(t, harnesstest.Step{Script: "wadi service delete -address " + b.api + " rolled"})
	for _, st := range all[uninstall(all):] {
		sh.Run(t, harnesstest.Step{Line: st.Line, Script: withoutLines(st.Script, "wadi service delete")})
	}
}

// uninstall is the first step that removes Wadi.
func uninstall(all []harnesstest.Step) int {
	return slices.IndexFunc(all, func(st harnesstest.Step) bool { return strings.Contains(st.Script, "nomad job stop -purge wadi\n") })
}

func withoutLines(text, with string) string {
	return strings.Join(slices.DeleteFunc(strings.Split(text, "\n"), func(l string) bool { return strings.Contains(l, with) }), "\n")
}

// longRequests begins a request at each gateway that takes longer than all of a drain but
// its wait for requests in flight. The channel has room for their results.
func (b *balancer) longRequests(ctx context.Context) chan error {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make(chan error, len(b.ready))
	for _, at := range b.ready {
		go func() {
			_, err := b.ask(ctx, at, "/?sleep=15s")
			out <- err
		}()
	}
	return out
}

// balancer sends requests to the gateways that are ready, as a load balancer in front does:
// it learns of them from Nomad's services, and asks each now and then.
type balancer struct {
	*cluster
	client *http.Client

	mu     sync.Mutex
	ready  []string // host:port
	turn   int
	api    string          // URL of an agent's API.
	allocs map[string]bool // IDs of the agents' allocations.
}

// look looks once.
func (b *balancer) look(t *testing.T) {
	t.Helper()
	if err := b.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (b *balancer) refresh(ctx context.Context) error {
	allocs, _, err := b.nomad.Jobs().Allocations("wadi", false, nil)
	if err != nil {
		return err
	}
	var ready []string
	ids := map[string]bool{}
	api := ""
	for _, stub := range allocs {
		if stub.ClientStatus != "running" || stub.DesiredStatus != "run" && stub.DesiredStatus != "stop" {
			continue
		}
		a, _, err := b.nomad.Allocations().Info(stub.ID, nil)
		if err != nil {
			return err
		}
		at := map[string]string{}
		for _, p := range a.AllocatedResources.Shared.Ports {
			at[p.Label] = fmt.Sprintf("127.0.0.1:%d", p.Value)
		}
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at["metrics"]+"/ready", nil)
		if err != nil {
			cancel()
			return err
		}
		res, err := b.client.Do(req)
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				ready, ids[a.ID], api = append(ready, at["gateway"]), true, "http://"+at["api"]
			}
		}
		cancel()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ready, b.allocs, b.api = ready, ids, api
	return nil
}

// keepLooking looks twice a second until the test ends.
func (b *balancer) keepLooking(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var g sync.WaitGroup
	g.Go(func() {
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = b.refresh(ctx) // The next look is soon.
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(func() { cancel(); g.Wait() })
}

// send sends one request to the next gateway.
func (b *balancer) send(ctx context.Context, path string) (string, error) {
	b.mu.Lock()
	if len(b.ready) == 0 {
		b.mu.Unlock()
		return "", errors.New("no gateway is ready")
	}
	b.turn++
	at := b.ready[b.turn%len(b.ready)]
	b.mu.Unlock()
	return b.ask(ctx, at, path)
}

// ask sends a request to a gateway.
func (b *balancer) ask(ctx context.Context, at, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+path, nil)
	if err != nil {
		return "", err
	}
	req.Host = "rolled." + harness.Domain
	res, err := b.client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, body)
	}
	return "answered", err
}
