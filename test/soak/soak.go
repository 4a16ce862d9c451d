package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/wadi-run/wadi/test/harness"
)

const (
	sampleEvery   = 10 * time.Second
	progressEvery = 30 * time.Second
	startTimeout  = 5 * time.Minute
	stopTimeout   = 5 * time.Minute
)

// soaking is one run.
type soaking struct {
	stack   *harness.Stack
	agents  []*harness.Agent
	mesh    bool
	log     io.Writer // Progress; the result goes elsewhere.
	traffic *traffic
	sampler *sampler
	rests   rests
	late    time.Duration // How late this program itself was at worst.
}

// soak starts everything, sends the traffic, judges, and always stops what it has started.
// The result is nil if the traffic did not begin.
func soak(ctx context.Context, o options, log io.Writer) (r *result, err error) {
	s := &soaking{log: log, sampler: newSampler()}
	fmt.Fprintln(log, "soak: Consul, Nomad and three agents begin")
	// Requests are no debugging: an hour of them would fill the disk.
	extra := "log_level = \"info\"\n"
	if s.stack, err = harness.Start(ctx, harness.Options{Bin: o.bin, Extra: extra}); err != nil {
		return nil, err
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		err = errors.Join(err, s.stop(stop, o.logs))
	}()
	if err := s.start(ctx, extra); err != nil {
		return nil, err
	}
	s.run(ctx, o.length)
	r = s.result(o.length)
	if ctx.Err() != nil {
		return r, errors.New("interrupted; the table is of the time so far")
	}
	return r, nil
}

// start starts the other agents and the services.
func (s *soaking) start(ctx context.Context, extra string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	s.agents = []*harness.Agent{s.stack.Agent}
	for _, name := range []string{"wadi-2", "wadi-3"} {
		a, err := s.stack.NewAgent(name, extra)
		if err == nil {
			err = a.Start(ctx)
		}
		if err == nil {
			err = a.WaitLeader(ctx)
		}
		if err != nil {
			return err
		}
		s.agents = append(s.agents, a)
	}
	if s.mesh = s.stack.Cluster.Bridge; !s.mesh {
		fmt.Fprintln(s.log, "soak: no bridge networks on this machine, so no mesh and no gRPC:", s.stack.Cluster.WhyNot)
	}
	if err := s.stack.Agent.Apply(ctx, render(services(s.mesh))); err != nil {
		return fmt.Errorf("apply the services: %w", err)
	}
	var grpcs []string
	if s.mesh {
		grpcs = []string{steadyGRPC, zeroGRPC}
	}
	s.traffic = &traffic{counts: map[string]*count{}}
	for _, a := range s.agents {
		e, err := open(a, grpcs)
		if err != nil {
			return err
		}
		s.traffic.entrances = append(s.traffic.entrances, e)
	}
	return s.routed(ctx)
}

// routed waits until every gateway answers for every service: agents learn of a new service
// within moments, and not all at once.
func (s *soaking) routed(ctx context.Context) error {
	for _, e := range s.traffic.entrances {
		asked := map[string]bool{}
		for _, k := range kinds(s.mesh) {
			if asked[k.service] {
				continue
			}
			asked[k.service] = true
			err := harness.Eventually(ctx, startTimeout, func() error { return k.send(ctx, e, k.service, 0) })
			if err != nil {
				return fmt.Errorf("%s to %s by %s: %w", k.name, k.service, e.agent.Name, err)
			}
		}
	}
	return nil
}

// run sends the traffic for some time, or until ctx ends.
func (s *soaking) run(ctx context.Context, length time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	s.traffic.began = time.Now()
	fmt.Fprintf(s.log, "soak: all services answer; traffic for %v, in cycles of %v busy and %v at rest\n", length, busyFor, cycle-busyFor)
	var running sync.WaitGroup
	for _, k := range kinds(s.mesh) {
		running.Go(func() { s.traffic.run(ctx, k) })
	}
	running.Go(func() { s.changes(ctx) })
	s.watch(ctx)
	running.Wait()
}

// watch samples, notes the rests and prints progress until ctx ends.
func (s *soaking) watch(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	printed := time.Duration(0)
	for {
		select {
		case due := <-tick.C:
			s.late = max(s.late, time.Since(due))
		case <-ctx.Done():
			return
		}
		at := time.Since(s.traffic.began)
		all := agents(s.agents)
		proxies, err := queueProxies(s.stack.Cluster.Dir)
		if err != nil {
			s.sampler.missed, s.sampler.last = s.sampler.missed+1, err
		}
		s.sampler.sample(ctx, at, append(all, proxies...))
		if !busy(at) {
			s.rests.note(int(at/cycle), s.atZero(ctx))
		}
		if at-printed >= progressEvery {
			printed = at
			s.progress(at, len(proxies))
		}
	}
}

func (s *soaking) progress(at time.Duration, proxies int) {
	sum := s.traffic.total()
	phase := "at rest"
	if busy(at) {
		phase = "busy"
	}
	line := fmt.Sprintf("soak: %6s %-7s %6d answered, %d failed, %d queue-proxies;", at.Round(time.Second), phase, sum.Answered, sum.Failed, proxies)
	for _, a := range s.agents {
		line += fmt.Sprintf(" %s", a.Name)
		for _, w := range watched {
			line += fmt.Sprintf(" %.0f", s.sampler.latest(a.Name, w.metric)/w.unit)
		}
	}
	fmt.Fprintln(s.log, line)
}

// atZero lists the services that go to zero and have no instance.
func (s *soaking) atZero(ctx context.Context) (out []string) {
	for _, svc := range services(s.mesh) {
		if svc.min > 0 || svc.name == changing {
			continue
		}
		if n, err := s.stack.Count(ctx, svc.name+"-00001"); err == nil && n == 0 {
			out = append(out, svc.name)
		}
	}
	return out
}

// rests is in which cycles a service was seen at zero.
type rests struct {
	cycles map[int]bool
	zero   map[string]map[int]bool
}

func (r *rests) note(cycle int, atZero []string) {
	if r.cycles == nil {
		r.cycles, r.zero = map[int]bool{}, map[string]map[int]bool{}
	}
	r.cycles[cycle] = true
	for _, s := range atZero {
		if r.zero[s] == nil {
			r.zero[s] = map[int]bool{}
		}
		r.zero[s][cycle] = true
	}
}

// changes submits a new revision in each cycle, and a service that exists only for that cycle.
// A submission that fails counts like a request.
func (s *soaking) changes(ctx context.Context) {
	for n := 0; ; n++ {
		// In the middle of the busy time, under load.
		at := time.Duration(n)*cycle + busyFor/2
		if pause(ctx, at-time.Since(s.traffic.began)) != nil {
			return
		}
		s.traffic.one(ctx, "apply a revision", changing, func(ctx context.Context, e *entrance, _ string, _ int64) error {
			return e.agent.Apply(ctx, changed(n+2).hcl())
		})
		s.traffic.one(ctx, "apply, ask, delete", "guest-*", func(ctx context.Context, e *entrance, _ string, number int64) error {
			return comeAndGo(ctx, e, guest(n), number)
		})
	}
}

// comeAndGo submits a service, asks it and deletes it.
func comeAndGo(ctx context.Context, e *entrance, guest service, number int64) error {
	if err := e.agent.Apply(ctx, guest.hcl()); err != nil {
		return err
	}
	err := hello(ctx, e, guest.name, number)
	return errors.Join(err, e.agent.Delete(ctx, guest.name))
}

// stop deletes the services, checks that nothing of them is left, and stops everything.
func (s *soaking) stop(ctx context.Context, logs string) error {
	var errs []error
	if s.traffic != nil {
		for _, e := range s.traffic.entrances {
			e.close()
		}
		errs = append(errs, s.remove(ctx))
	}
	if logs != "" {
		errs = append(errs, s.copyLogs(logs))
	}
	dirs := []string{s.stack.Dir, s.stack.Cluster.Dir}
	errs = append(errs, s.stack.Stop(ctx))
	for _, dir := range dirs {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("%s is left", dir))
		}
	}
	return errors.Join(errs...)
}

func (s *soaking) copyLogs(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("copy logs: %w", err)
	}
	for _, a := range s.agents {
		text, err := os.ReadFile(a.LogFile)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, a.Name+".log"), text, 0o600)
		}
		if err != nil {
			return fmt.Errorf("copy logs: %w", err)
		}
	}
	return nil
}
