package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	nomad "github.com/hashicorp/nomad/api"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/test/harness"
)

// throughRounds are more than elsewhere: two proxies meet twice as much noise.
const throughRounds = 11

// Labels of the ways through Wadi's two proxies.
const (
	labelThrough = "gateway and queue-proxy"
	labelMTLS    = "gateway and queue-proxy, mTLS to Envoy"
)

// through compares the CPU cost of a request in the gateway and the queue-proxy together
// with its cost in one other proxy in front of the same app.
func through(ctx context.Context, b *bench) (_ []section, err error) {
	dir, err := os.MkdirTemp("", "wadi-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s := service{name: "through", scale: "min = 1\n    max = 1"}
	running := []service{s}
	if b.stack.Cluster.Bridge {
		running = append(running, service{name: "throughmesh", mesh: true, scale: "min = 1\n    max = 1"})
	}
	if err := b.apply(ctx, running...); err != nil {
		return nil, err
	}
	own, app, err := b.lane(ctx, running[0], labelThrough)
	if err != nil {
		return nil, err
	}
	p := &plane{b: b, dir: dir, origin: app}
	r, err := p.race(ctx, labelHAProxy, labelReverse, labelPooled, labelQueue)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	r.lanes = append(r.lanes, own)
	if len(running) > 1 {
		meshed, _, err := b.lane(ctx, running[1], labelMTLS)
		if err != nil {
			return nil, err
		}
		r.lanes = append(r.lanes, meshed)
	}
	get := func(l *lane) shot {
		return shot{head: "GET / HTTP/1.1\r\nHost: " + l.host + "\r\nUser-Agent: bench\r\n\r\n"}
	}
	if err := r.run(ctx, get, planeConns, throughRounds); err != nil {
		return nil, err
	}
	if err := b.profileLoad(ctx, own, get(own)); err != nil {
		return nil, err
	}
	return []section{throughSection(r)}, b.remove(ctx, running...)
}

// throughSection is the table of a race that Wadi's two proxies took part in.
func throughSection(r *race) section {
	out := section{
		Title:   fmt.Sprintf("small requests through gateway and queue-proxy, %d connections, %d turns of %v each, host network", planeConns, throughRounds, planeTurn),
		Columns: []string{"µs CPU/req", "× ReverseProxy", "min", "max", "first µs", "Envoy µs", "req/s"},
	}
	for _, l := range r.lanes {
		to := r.ratio(l.label, labelReverse)
		out.add(l.label, l.each()*1e6, to.median, to.min, to.max,
			l.perAnswer(func(t turn) time.Duration { return t.first })*1e6, l.perAnswer(func(t turn) time.Duration { return t.beside })*1e6, l.rate())
	}
	r.notes(&out)
	out.note("first is the first process alone: with the gateway, the agent")
	out.judge("gateway's and queue-proxy's CPU against one ReverseProxy's", r.ratio(labelThrough, labelReverse).median, 0.9)
	return out
}

// lane is the way through the gateway to the only instance of s, and the address of its
// app.
func (b *bench) lane(ctx context.Context, s service, label string) (*lane, string, error) {
	if _, err := b.ask(ctx, s, "/"); err != nil {
		return nil, "", err
	}
	live, err := b.stack.Allocs(ctx, s.revision())
	if err != nil {
		return nil, "", err
	}
	if len(live) != 1 {
		return nil, "", fmt.Errorf("%s has %d allocations, want 1", s.name, len(live))
	}
	alloc, _, err := b.stack.Nomad.Allocations().Info(live[0].ID, (&nomad.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return nil, "", fmt.Errorf("read allocation of %s: %w", s.name, err)
	}
	app := ""
	for _, port := range alloc.AllocatedResources.Shared.Ports {
		if port.Label == wadi.PortApp {
			app = net.JoinHostPort(port.HostIP, strconv.Itoa(port.Value))
		}
	}
	pid, err := findProcess("queue-proxy", alloc.ID)
	if err != nil {
		return nil, "", err
	}
	l := &lane{contender: &contender{
		label: label, addr: b.stack.Agent.Gateway, host: s.name + "." + harness.Domain,
		pids: []int{b.stack.Agent.PID(), pid},
	}}
	if s.mesh {
		envoy, err := findTask("connect-proxy-"+s.name, alloc.ID)
		if err != nil {
			return nil, "", err
		}
		l.besides = []int{envoy}
	}
	return l, app, nil
}

// findTask returns the process of a task in an allocation.
func findTask(task, alloc string) (int, error) {
	return findWhere(fmt.Sprintf("task %s of allocation %s", task, alloc), func(_, env string) bool {
		return strings.Contains(env, "\x00NOMAD_ALLOC_ID="+alloc+"\x00") && strings.Contains(env, "\x00NOMAD_TASK_NAME="+task+"\x00")
	})
}

// profileLoad takes a profile of the agent under load, if profiles are requested.
func (b *bench) profileLoad(ctx context.Context, l *lane, s shot) error {
	if b.profiles == "" {
		return nil
	}
	taken := make(chan error, 1)
	go func() { taken <- b.profile(ctx, "through-cpu.pprof", "profile?seconds=3") }()
	_, err := l.client.load(ctx, s, 3*time.Second)
	return errors.Join(err, <-taken)
}
