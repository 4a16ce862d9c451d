//go:build e2e

package rolling_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// balancer sends requests to the gateways of agents that are ready, in turns, as a load
// balancer in front of them does.
type balancer struct {
	agents []*harness.Agent
	client *http.Client

	mu    sync.Mutex
	ready []*harness.Agent
	turn  int
}

// startBalancer looks for ready agents until the test ends.
func startBalancer(t *testing.T, agents []*harness.Agent) *balancer {
	b := &balancer{agents: agents, client: &http.Client{}}
	b.look(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				b.look(ctx)
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(func() { cancel(); done.Wait(); b.client.CloseIdleConnections() })
	return b
}

func (b *balancer) look(ctx context.Context) {
	var ready []*harness.Agent
	for _, a := range b.agents {
		if b.isReady(ctx, a) {
			ready = append(ready, a)
		}
	}
	b.mu.Lock()
	b.ready = ready
	b.mu.Unlock()
}

// isReady asks an agent. One that is busy is asked for as long as a load balancer would.
func (b *balancer) isReady(ctx context.Context, a *harness.Agent) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.Metrics+"/ready", nil)
	if err != nil {
		return false
	}
	res, err := harness.Do(b.client, req)
	return err == nil && res.Status == http.StatusOK
}

// next is the agent whose turn it is.
func (b *balancer) next() (*harness.Agent, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.ready) == 0 {
		return nil, errors.New("no gateway is ready")
	}
	b.turn++
	return b.ready[b.turn%len(b.ready)], nil
}

// to sends a request of a load to a service.
func (b *balancer) to(service string) harnesstest.Send {
	return func(ctx context.Context) (string, error) {
		a, err := b.next()
		if err != nil {
			return "", err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.URL("/"), nil)
		if err != nil {
			return "", err
		}
		req.Host = service + "." + harness.Domain
		text, err := harnesstest.Answer(harness.Do(b.client, req))
		if err != nil {
			err = fmt.Errorf("%s through %s: %w", service, a.Name, err)
		}
		return text, err
	}
}
