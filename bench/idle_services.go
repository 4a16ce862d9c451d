package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
)

const (
	idleServices = 100
	idleFor      = 20 * time.Second
	idleCalm     = 8 * time.Second // After a submission, until its work is done.
)

// idle measures what a leading agent uses while nothing happens.
func idle(ctx context.Context, b *bench) ([]section, error) {
	s := section{
		Title:   fmt.Sprintf("an agent that leads, no request, %.0f s each", idleFor.Seconds()),
		Columns: []string{"agent % of a core", "agent MiB", "Nomad %", "Consul %"},
	}
	empty, err := b.rest(ctx, &s, "no service")
	if err != nil {
		return nil, err
	}
	var services []service
	for i := range idleServices {
		services = append(services, service{name: fmt.Sprintf("idle%d", i), mesh: b.stack.Cluster.Bridge && i%2 == 1, scale: "initial = 0"})
	}
	kind := "host network"
	if b.stack.Cluster.Bridge {
		kind = "half of them in the mesh"
	}
	if err := b.apply(ctx, services...); err != nil {
		return nil, err
	}
	full, err := b.rest(ctx, &s, fmt.Sprintf("%d services at zero, %s", idleServices, kind))
	if err != nil {
		return nil, err
	}
	s.judge("agent, % of a core", full, 1)
	s.note("of that, %.2f %% are there without any service", empty)
	b.logf("removing %d services", idleServices)
	return []section{s}, b.remove(ctx, services...)
}

// rest adds a row about an idle time, and returns the agent's share of a core.
func (b *bench) rest(ctx context.Context, s *section, label string) (float64, error) {
	if err := wadi.Sleep(ctx, idleCalm); err != nil {
		return 0, err
	}
	pids := []int{b.stack.Agent.PID(), b.stack.Cluster.Nomad.PID(), b.stack.Cluster.Consul.PID()}
	before := make([]time.Duration, len(pids))
	for i, pid := range pids {
		var err error
		if before[i], err = harness.CPUTime(pid); err != nil {
			return 0, err
		}
	}
	began := time.Now()
	profiled := make(chan error, 1)
	go func() {
		profiled <- b.profile(ctx, fmt.Sprintf("idle-%d.pprof", len(s.Rows)), fmt.Sprintf("profile?seconds=%d", int(idleFor.Seconds())-1))
	}()
	if err := errors.Join(wadi.Sleep(ctx, idleFor), <-profiled); err != nil {
		return 0, err
	}
	took := time.Since(began)
	share := make([]float64, len(pids))
	for i, pid := range pids {
		after, err := harness.CPUTime(pid)
		if err != nil {
			return 0, err
		}
		share[i] = 100 * float64(after-before[i]) / float64(took)
	}
	memory, err := rss(pids[0])
	s.add(label, share[0], memory/(1<<20), share[1], share[2])
	return share[0], err
}
