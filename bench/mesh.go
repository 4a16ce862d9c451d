package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	consul "github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/mesh"
	"github.com/wadi-run/wadi/test/harness"
)

const (
	meshCaller    = "bench-caller" // The benchmark's own name in the mesh.
	meshHeldDelay = 12 * time.Second
	directRuns    = 6
	directEvery   = 20 * time.Millisecond
)

// meshed measures what the mesh costs an agent, and when callers' Envoys go to an instance
// directly.
func meshed(ctx context.Context, b *bench) (out []section, err error) {
	if !b.stack.Cluster.Bridge {
		return []section{{Title: "no mesh here: " + b.stack.Cluster.WhyNot}}, nil
	}
	src, stop, err := b.member(ctx, meshCaller)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	for _, part := range []func() (section, error){
		// Waiting requests first, while the agent's heap has no free memory.
		func() (section, error) { return b.waitingMesh(ctx, src) },
		func() (section, error) { return b.warmMesh(ctx) },
		func() (section, error) { return b.direct(ctx) },
	} {
		s, err := part()
		if err != nil {
			return out, err
		}
		out = append(out, s)
	}
	return out, nil
}

// member makes the benchmark a member of the mesh, until stop.
func (b *bench) member(ctx context.Context, services ...string) (src *mesh.Source, stop func() error, err error) {
	src = &mesh.Source{API: func() *consul.Client { return b.stack.Consul }, Log: hclog.NewNullLogger(), Services: services}
	run, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- src.Run(run) }()
	stop = func() error {
		cancel()
		return <-done
	}
	select {
	case <-src.Ready():
		return src, stop, nil
	case <-ctx.Done():
		return nil, nil, errors.Join(ctx.Err(), stop())
	}
}

// waitingMesh sends many requests over mTLS to the activator, for one service at zero.
func (b *bench) waitingMesh(ctx context.Context, src *mesh.Source) (out section, err error) {
	s := service{
		name: "heldmesh", mesh: true, env: fmt.Sprintf("START_DELAY = %q", meshHeldDelay),
		scale: "initial = 0\n    max = 1\n    window = \"6s\"",
	}
	if err := b.apply(ctx, s); err != nil {
		return out, err
	}
	addr, err := b.activator(ctx)
	if err != nil {
		return out, err
	}
	h, err := b.measureWaiting(ctx, meshHeldDelay, func(ctx context.Context) error { return askActivator(ctx, src, addr, s) })
	if err != nil {
		return out, err
	}
	out = h.section(fmt.Sprintf("%d requests over mTLS, each on a connection of its own, wait for one cold service", waitingCount))
	out.judge("KiB resident for a waiting request over mTLS", h.residentEach(), 64)
	out.judge("requests not answered with 200", float64(waitingCount-h.crowd.ok.Load()), 0)
	return out, b.remove(ctx, s)
}

// activator is the address where the agent takes requests from the mesh.
func (b *bench) activator(ctx context.Context) (string, error) {
	all, _, err := b.stack.Consul.Health().Service(wadi.ServiceActivator, "", true, (&consul.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return "", fmt.Errorf("find the activator: %w", err)
	}
	if len(all) != 1 {
		return "", fmt.Errorf("find the activator: %d are registered, want 1", len(all))
	}
	return net.JoinHostPort(all[0].Service.Address, strconv.Itoa(all[0].Service.Port)), nil
}

// askActivator does what a caller's Envoy does on failover.
func askActivator(ctx context.Context, src *mesh.Source, addr string, s service) error {
	c, err := src.Dial(ctx, addr, wadi.ServiceActivator)
	if err != nil {
		return err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	_, err = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\n%s: %s\r\n%s: %s\r\n\r\n",
		s.name, wadi.HeaderService, s.name, wadi.HeaderRevision, s.revision())
	if err != nil {
		return err
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	return nil
}

// warmMesh compares the agent's CPU for a request to an instance behind Envoy with that to
// a plain instance, both through the gateway and in a bridge network.
func (b *bench) warmMesh(ctx context.Context) (out section, err error) {
	plain := service{name: "warmplain", bridge: true, scale: "min = 1\n    max = 1"}
	envoy := service{name: "warmmesh", mesh: true, scale: "min = 1\n    max = 1"}
	if err := b.apply(ctx, plain, envoy); err != nil {
		return out, err
	}
	var ways []way
	for _, s := range []service{plain, envoy} {
		if _, err := b.ask(ctx, s, "/"); err != nil {
			return out, err
		}
		ways = append(ways, way{label: s.name, addr: b.stack.Agent.Gateway, host: s.name + "." + harness.Domain})
	}
	pids := []int{b.stack.Agent.PID()}
	if err := turns(ctx, ways, pids); err != nil {
		return out, err
	}
	out = section{
		Title:   fmt.Sprintf("a warm request through the gateway, plain and over mTLS to Envoy, %d connections", warmConns),
		Columns: []string{"p50 ms", "p99 ms", "requests/s", "agent µs CPU"},
	}
	each := make([]float64, len(ways))
	for i, w := range ways {
		n := float64(len(w.took))
		each[i] = float64(w.cpu[0].Microseconds()) / n
		out.add(w.label, w.took.at(.5), w.took.at(.99), n/w.lasted.Seconds(), each[i])
		if w.failed > 0 {
			out.note("%s: %d of %d requests failed", w.label, w.failed, len(w.took))
		}
	}
	out.judge("agent's CPU over mTLS against plain", each[1]/each[0], 1.6)
	return out, b.remove(ctx, plain, envoy)
}

// direct measures how long after the first answer of a woken instance a mesh caller's
// Envoy uses it directly.
func (b *bench) direct(ctx context.Context) (out section, err error) {
	callee := service{name: "directcallee", mesh: true, scale: byHand}
	caller := service{
		name: "directcaller", mesh: true, env: `UPSTREAM = "http://127.0.0.1:9191"`, scale: "min = 1\n    max = 1",
		more: "upstream \"directcallee\" {\n    local_port = 9191\n  }",
	}
	if err := b.apply(ctx, callee); err != nil {
		return out, err
	}
	if err := b.apply(ctx, caller); err != nil {
		return out, err
	}
	var first, away samples
	for range directRuns {
		began := time.Now()
		if _, err := b.ask(ctx, caller, "/call/"); err != nil {
			return out, err
		}
		ready := time.Now()
		first = append(first, ready.Sub(began))
		if err := b.waitDirect(ctx, caller, callee); err != nil {
			return out, err
		}
		away = append(away, time.Since(ready))
		if err := b.scale(ctx, callee.revision(), 0); err != nil {
			return out, err
		}
		if err := b.stack.WaitGone(ctx, callee.revision(), time.Minute); err != nil {
			return out, err
		}
	}
	out = section{
		Title:   fmt.Sprintf("from zero to Envoy to Envoy, a mesh caller, %d times", directRuns),
		Columns: []string{"p50 ms", "min ms", "max ms"},
	}
	out.add("the cold call, through the activator", first.at(.5), first.at(0), first.at(1))
	out.add("from its answer until calls go direct", away.at(.5), away.at(0), away.at(1))
	return out, b.remove(ctx, caller, callee)
}

// waitDirect calls until a call did not go through the activator.
func (b *bench) waitDirect(ctx context.Context, caller, callee service) error {
	through := fmt.Sprintf("wadi_activator_requests_total{class=\"2xx\",service=%q}", callee.name)
	counted := func() (float64, error) {
		g, err := gauges(ctx, b.stack.Agent)
		return g[through], err
	}
	before, err := counted()
	for err == nil {
		if _, err = b.ask(ctx, caller, "/call/"); err != nil {
			break
		}
		var after float64
		if after, err = counted(); err == nil && after == before && before > 0 {
			return nil
		}
		before = after
		err = errors.Join(err, wadi.Sleep(ctx, directEvery))
	}
	return fmt.Errorf("wait until %s is called directly: %w", callee.name, err)
}
