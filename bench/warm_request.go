package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
)

const (
	warmConns = 64
	warmFor   = 2 * time.Second // One turn.
	warmTurns = 4
)

// warm compares a request to a running instance with one directly to its app.
func warm(ctx context.Context, b *bench) ([]section, error) {
	s := service{name: "warm", scale: "min = 1\n    max = 1"}
	if err := b.apply(ctx, s); err != nil {
		return nil, err
	}
	if _, err := b.ask(ctx, s, "/"); err != nil {
		return nil, err
	}
	ways, proxyPID, err := b.ways(ctx, s)
	if err != nil {
		return nil, err
	}
	pids := []int{b.stack.Agent.PID(), proxyPID}
	if err := turns(ctx, ways, pids); err != nil {
		return nil, err
	}
	out := section{
		Title:   fmt.Sprintf("a warm request, host network, %d connections, client on the same machine", warmConns),
		Columns: []string{"p50 ms", "p99 ms", "requests/s", "agent µs CPU", "queue-proxy µs CPU"},
	}
	for _, w := range ways {
		n := float64(len(w.took))
		out.add(w.label, w.took.at(.5), w.took.at(.99), n/w.lasted.Seconds(),
			float64(w.cpu[0].Microseconds())/n, float64(w.cpu[1].Microseconds())/n)
		if w.failed > 0 {
			out.note("%s: %d of %d requests failed", w.label, w.failed, len(w.took))
		}
	}
	out.note("client, agent, queue-proxy and app share the cores, so the latencies are those of an overload; for orientation only")
	return []section{out}, b.remove(ctx, s)
}

// turns measures the ways by turns, so that noise affects all of them.
func turns(ctx context.Context, ways []way, pids []int) error {
	for turn := range warmTurns + 1 {
		for i := range ways {
			w := &ways[i]
			if err := w.measure(ctx, pids); err != nil {
				return err
			}
			if turn == 0 {
				*w = way{label: w.label, addr: w.addr, host: w.host} // It opened the connections.
			}
		}
	}
	return nil
}

// way is one way to the app, with its measurements.
type way struct {
	label, addr, host string

	took   samples
	failed int
	lasted time.Duration
	cpu    [2]time.Duration
}

// ways are the three ways to the only instance of s, and the PID of its queue-proxy.
func (b *bench) ways(ctx context.Context, s service) ([]way, int, error) {
	live, err := b.stack.Allocs(ctx, s.revision())
	if err != nil {
		return nil, 0, err
	}
	if len(live) != 1 {
		return nil, 0, fmt.Errorf("%s has %d allocations, want 1", s.name, len(live))
	}
	alloc, _, err := b.stack.Nomad.Allocations().Info(live[0].ID, (&nomad.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return nil, 0, fmt.Errorf("read allocation of %s: %w", s.name, err)
	}
	ports := map[string]string{}
	for _, p := range alloc.AllocatedResources.Shared.Ports {
		ports[p.Label] = net.JoinHostPort(p.HostIP, strconv.Itoa(p.Value))
	}
	pid, err := findProcess("queue-proxy", alloc.ID)
	return []way{
		{label: "gateway, queue-proxy, app", addr: b.stack.Agent.Gateway, host: s.name + "." + harness.Domain},
		{label: "queue-proxy, app", addr: ports[wadi.PortTraffic], host: s.name},
		{label: "the app alone", addr: ports[wadi.PortApp], host: s.name},
	}, pid, err
}

// measure sends requests for a while over many connections.
func (w *way) measure(ctx context.Context, pids []int) error {
	var before [2]time.Duration
	for i, pid := range pids {
		var err error
		if before[i], err = harness.CPUTime(pid); err != nil {
			return err
		}
	}
	began := time.Now()
	w.load(ctx, began.Add(warmFor))
	w.lasted += time.Since(began)
	for i, pid := range pids {
		after, err := harness.CPUTime(pid)
		if err != nil {
			return err
		}
		w.cpu[i] += after - before[i]
	}
	return ctx.Err()
}

func (w *way) load(ctx context.Context, until time.Time) {
	t := &http.Transport{MaxIdleConnsPerHost: warmConns}
	defer t.CloseIdleConnections()
	client := &http.Client{Transport: t}
	var mu sync.Mutex
	var all sync.WaitGroup
	for range warmConns {
		all.Go(func() {
			var took samples
			failed := 0
			for time.Now().Before(until) && ctx.Err() == nil {
				d, err := w.ask(ctx, client)
				if err != nil {
					failed++
				}
				took = append(took, d)
			}
			mu.Lock()
			defer mu.Unlock()
			w.took, w.failed = append(w.took, took...), w.failed+failed
		})
	}
	all.Wait()
}

func (w *way) ask(ctx context.Context, c *http.Client) (time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.addr+"/", nil)
	if err != nil {
		return 0, err
	}
	req.Host = w.host
	res, err := harness.Do(c, req)
	if err == nil && res.Status != http.StatusOK {
		err = errors.New(res.Body)
	}
	return res.Took, err
}
