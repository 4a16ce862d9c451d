package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

const (
	planeConns  = 64
	planeRounds = 5
	planeTurn   = time.Second // One contender's turn in a round.
	bodyRounds  = 3
	smallAnswer = 13 // Bytes of a small answer's body.
)

// inPlane runs a benchmark of proxies in front of the same origin. It needs no cluster.
func inPlane(b *bench, run func(*plane) ([]section, error)) (_ []section, err error) {
	dir, err := os.MkdirTemp("", "wadi-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	o, err := newOrigin("127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer o.close()
	return run(&plane{b: b, dir: dir, origin: o.addr()})
}

func small(ctx context.Context, b *bench) ([]section, error) {
	return inPlane(b, func(p *plane) ([]section, error) { return p.small(ctx) })
}

func bodies(ctx context.Context, b *bench) ([]section, error) {
	return inPlane(b, func(p *plane) ([]section, error) { return p.bodies(ctx) })
}

func crowds(ctx context.Context, b *bench) ([]section, error) {
	return inPlane(b, func(p *plane) ([]section, error) { return p.memory(ctx) })
}

// plane is shared by the parts of the data plane's benchmark.
type plane struct {
	b      *bench
	dir    string
	origin string // host:port
}

// Labels of the contenders.
const (
	labelHAProxy = "HAProxy"
	labelNginx   = "nginx"
	labelEnvoy   = "Envoy"
	labelReverse = "httputil.ReverseProxy"
	labelPooled  = "httputil.ReverseProxy, with a BufferPool"
	labelQueue   = "queue-proxy"
	labelLimit   = "queue-proxy, limit = 100"
	labelFront   = "gateway" // Before a queue-proxy.
)

// small measures small requests over many connections.
func (p *plane) small(ctx context.Context) (_ []section, err error) {
	r, err := p.race(ctx, labelHAProxy, labelNginx, labelReverse, labelPooled, labelQueue, labelLimit)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	get := shot{head: "GET /0123 HTTP/1.1\r\nHost: bench.example\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"}
	if err := r.run(ctx, same(get), planeConns, planeRounds); err != nil {
		return nil, err
	}
	out := section{
		Title:   fmt.Sprintf("small requests through one proxy, %d connections, %d turns of %v each", planeConns, planeRounds, planeTurn),
		Columns: []string{"µs CPU/req", "× ReverseProxy", "min", "max", "× HAProxy", "min", "max", "req/s"},
	}
	for _, l := range r.lanes {
		toRP, toHA := r.ratio(l.label, labelReverse), r.ratio(l.label, labelHAProxy)
		out.add(l.label, l.each()*1e6, toRP.median, toRP.min, toRP.max, toHA.median, toHA.min, toHA.max, l.rate())
	}
	r.notes(&out)
	out.judge("queue-proxy's CPU against ReverseProxy's", r.ratio(labelQueue, labelReverse).median, 0.45)
	if r.has(labelHAProxy) {
		out.judge("queue-proxy's CPU against HAProxy's (2.2 is the aim)", r.ratio(labelQueue, labelHAProxy).median, 2.6)
	}
	out.judge("with a limit against without", r.ratio(labelLimit, labelQueue).median, 1.1)
	return []section{out}, nil
}

// bodies measures how many bytes a second of CPU moves.
func (p *plane) bodies(ctx context.Context) (_ []section, err error) {
	r, err := p.race(ctx, labelHAProxy, labelNginx, labelReverse, labelQueue)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	out := section{
		Title:   "bodies through one proxy: what a second of its CPU moves",
		Columns: []string{"MiB/CPU s", "× HAProxy", "min", "max", "MiB/s"},
	}
	for _, k := range []struct {
		label string
		size  int64
		up    bool
		conns int
	}{
		{"1 MiB answers", 1 << 20, false, 8}, {"1 MiB requests", 1 << 20, true, 8},
		{"100 MiB answers", 100 << 20, false, 2}, {"100 MiB requests", 100 << 20, true, 2},
	} {
		r.reset()
		if err := r.run(ctx, same(bodyShot(k.size, k.up)), k.conns, bodyRounds); err != nil {
			return nil, err
		}
		for _, l := range r.lanes {
			ratio := r.ratio(labelHAProxy, l.label) // Throughput per CPU is the other way round.
			out.add(k.label+", "+l.label, float64(k.size)/(1<<20)/l.each(), ratio.median, ratio.min, ratio.max, l.rate()*float64(k.size)/(1<<20))
		}
		if r.has(labelHAProxy) {
			out.atLeast(k.label+", queue-proxy against HAProxy", r.ratio(labelHAProxy, labelQueue).median, 0.8)
		}
	}
	r.notes(&out)
	return []section{out}, nil
}

// spread is a figure's range over the rounds.
type spread struct{ median, min, max float64 }

func spreadOf(v []float64) spread {
	if len(v) == 0 {
		return spread{}
	}
	s := slices.Sorted(slices.Values(v))
	m := s[len(s)/2]
	if len(s)%2 == 0 {
		m = (m + s[len(s)/2-1]) / 2
	}
	return spread{m, s[0], s[len(s)-1]}
}

// same sends the same shot on all lanes.
func same(s shot) func(*lane) shot { return func(*lane) shot { return s } }
