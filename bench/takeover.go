package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	consul "github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi/test/harness"
)

const (
	takeovers       = 10   // Of each kind.
	takeoverWithin  = 6000 // ms, after SIGKILL.
	handoverWithin  = 2000 // ms, after a graceful stop.
	decidesWithin   = 1000 // ms, of leading.
	leaderKey       = "wadi/leader"
	ledServices     = 2000
	ledHandovers    = 3
	takeoverTimeout = time.Minute
)

// takeover measures how soon another agent leads, and how soon a leader of many services
// decides.
func takeover(ctx context.Context, b *bench) (_ []section, err error) {
	second, err := b.stack.NewAgent("wadi-2", "log_level = \"info\"\n")
	if err != nil {
		return nil, err
	}
	agents := []*harness.Agent{b.stack.Agent, second}
	defer func() { err = errors.Join(err, b.onlyFirst(ctx, second)) }()
	if err := begin(ctx, second); err != nil {
		return nil, err
	}
	led := section{Title: fmt.Sprintf("until another agent leads, %d times each", takeovers), Columns: []string{"p50 ms", "max ms"}}
	for _, way := range []struct {
		label  string
		target float64
		end    func(*harness.Agent) error
	}{
		{"after SIGKILL", takeoverWithin, (*harness.Agent).Kill},
		{"after a graceful stop", handoverWithin, func(a *harness.Agent) error { return a.Signal(os.Interrupt) }},
	} {
		var took samples
		for range takeovers {
			t, err := b.handOver(ctx, agents, way.end, nil)
			if err != nil {
				return nil, err
			}
			took = append(took, t)
		}
		led.add(way.label, took.at(0.5), took.at(1))
		led.judge("slowest "+way.label+", ms", took.at(1), way.target)
	}
	decided, err := b.decides(ctx, agents)
	return []section{led, decided}, err
}

// decides measures when a new leader has decided about all of many services.
func (b *bench) decides(ctx context.Context, agents []*harness.Agent) (section, error) {
	s := section{
		Title:   fmt.Sprintf("from the lock to the first decision, of %d services, %d times", ledServices, ledHandovers),
		Columns: []string{"p50 ms", "max ms"},
	}
	var services []service
	looked := []int{0, ledServices / 2, ledServices - 1}
	for i := range ledServices {
		scale := "initial = 0"
		if slices.Contains(looked, i) { // Nothing is decided about what is at zero and not asked for.
			scale = "min = 1"
		}
		services = append(services, service{name: fmt.Sprintf("led%04d", i), scale: scale})
	}
	b.logf("submitting %d services", ledServices)
	if err := b.apply(ctx, services...); err != nil {
		return s, errors.Join(err, b.remove(ctx, services...))
	}
	var took samples
	for range ledHandovers {
		var decided time.Duration
		_, err := b.handOver(ctx, agents, func(a *harness.Agent) error { return a.Signal(os.Interrupt) }, func(next *harness.Agent) error {
			began := time.Now()
			for _, i := range looked {
				if err := hasDecided(ctx, next, services[i].name); err != nil {
					return err
				}
			}
			decided = time.Since(began)
			return nil
		})
		if err != nil {
			return s, errors.Join(err, b.remove(ctx, services...))
		}
		took = append(took, decided)
	}
	s.add("first, middle and last by name", took.at(0.5), took.at(1))
	s.judge("slowest, ms", took.at(1), decidesWithin)
	return s, b.remove(ctx, services...)
}

// hasDecided waits for a decision of this leader about a service.
func hasDecided(ctx context.Context, a *harness.Agent, service string) error {
	ctx, cancel := context.WithTimeout(ctx, takeoverTimeout)
	defer cancel()
	for {
		all, err := a.Client.Decisions(ctx, service)
		if err == nil && len(all) > 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s has not decided about %s: %v", a.Name, service, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// handOver ends the agent that leads, and returns how soon another one does. It calls then,
// which may be nil, with that one, and starts the first one again.
func (b *bench) handOver(ctx context.Context, agents []*harness.Agent, end func(*harness.Agent) error, then func(next *harness.Agent) error) (time.Duration, error) {
	l, err := agents[0].Client.Leader(ctx)
	if err != nil {
		return 0, err
	}
	old, next := agents[0], agents[1]
	if l.Name == next.Name {
		old, next = next, old
	}
	lock, _, err := b.stack.Consul.KV().Get(leaderKey, (&consul.QueryOptions{RequireConsistent: true}).WithContext(ctx))
	if err != nil || lock == nil || lock.Session == "" {
		return 0, fmt.Errorf("read the lock: %+v, %w", lock, errors.Join(err, errors.New("nobody has it")))
	}
	began := time.Now()
	if err := end(old); err != nil {
		return 0, err
	}
	if err := b.otherSession(ctx, lock); err != nil {
		return 0, err
	}
	took := time.Since(began)
	if then != nil {
		if err := then(next); err != nil {
			return took, err
		}
	}
	if err := old.Stop(ctx); err != nil { // What was killed has ended.
		return took, err
	}
	return took, begin(ctx, old)
}

// otherSession waits until another session has the lock.
func (b *bench) otherSession(ctx context.Context, lock *consul.KVPair) error {
	ctx, cancel := context.WithTimeout(ctx, takeoverTimeout)
	defer cancel()
	q := consul.QueryOptions{RequireConsistent: true, WaitIndex: lock.ModifyIndex}
	for {
		now, meta, err := b.stack.Consul.KV().Get(leaderKey, q.WithContext(ctx))
		if err != nil {
			return fmt.Errorf("wait for another leader: %w", err)
		}
		if now != nil && now.Session != "" && now.Session != lock.Session {
			return nil
		}
		q.WaitIndex = meta.LastIndex
	}
}

// begin starts an agent and waits until it is a candidate.
func begin(ctx context.Context, a *harness.Agent) error {
	if err := a.Start(ctx); err != nil {
		return err
	}
	return a.WaitLeader(ctx)
}

// onlyFirst stops the second agent: what is measured after this has one.
func (b *bench) onlyFirst(ctx context.Context, second *harness.Agent) error {
	if err := second.Stop(ctx); err != nil {
		return err
	}
	return harness.Eventually(ctx, takeoverTimeout, func() error {
		l, err := b.stack.Agent.Client.Leader(ctx)
		if err == nil && l.Name != b.stack.Agent.Name {
			err = fmt.Errorf("%s leads", l.Name)
		}
		return err
	})
}
