package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/activator"
	"github.com/wadi-run/wadi/proxy/gateway"
)

// frontCommand makes this program a gateway with its activator, as the agent has them but
// without the rest of it, in front of the only instance of a service.
const frontCommand = "front"

// The service of the queue-proxies here.
const (
	planeService  = "bench"
	planeRevision = "bench-00001"
	planeHost     = "bench.example"
)

// single is a cluster where the only instance already runs.
type single struct{ wadi.Endpoint }

var (
	_ activator.Endpoints = single{}
	_ activator.Waker     = single{}
	_ activator.Diagnoses = single{}
	_ activator.Dialer    = single{}
)

func (c single) Endpoints(string) ([]wadi.Endpoint, <-chan struct{}) {
	return []wadi.Endpoint{c.Endpoint}, make(chan struct{})
}
func (single) Wake(context.Context, string) error { return nil }
func (single) Diagnosis(string) wadi.Diagnosis    { return wadi.Diagnosis{} }
func (single) Dial(ctx context.Context, ep wadi.Endpoint) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", ep.Addr)
}

// front serves until the process ends.
func front(ctx context.Context, listen, instance string) error {
	c := single{wadi.Endpoint{Revision: planeRevision, Service: planeService, Instance: planeService, Addr: instance, Running: true}}
	reg, log := prometheus.NewRegistry(), hclog.NewNullLogger()
	a, err := activator.New(activator.Config{
		Name: "bench", Boot: "1", Endpoints: c, Waker: c, Diagnoses: c, Dialer: c, Log: log, Registerer: reg,
	})
	if err != nil {
		return err
	}
	g, err := gateway.New(gateway.Config{Settings: gateway.Settings{Domain: "wadi.localhost"}, Activator: a, Registerer: reg})
	if err != nil {
		return err
	}
	routes := map[string]wadi.Route{planeService: {
		Service: planeService, Protocol: wadi.HTTP1, Visibility: wadi.Public, Domains: []string{planeHost},
		Targets: []wadi.RouteTarget{{Revision: planeRevision, Weight: wadi.WeightAll}},
		Revisions: map[string]wadi.RouteRevision{planeRevision: {
			Timeout: wadi.Timeouts{Request: wadi.Duration(5 * time.Minute)},
			Queue:   wadi.Queue{Depth: 1000, Timeout: wadi.Duration(time.Minute)},
		}},
	}}
	a.SetRoutes(routes)
	g.SetRoutes(routes)
	s, err := gateway.NewServer(ctx, gateway.ServerConfig{Address: listen, Handler: g, Malformed: g.Malformed("http"), Log: log})
	if err != nil {
		return err
	}
	go func() { _ = a.Run(ctx) }() // Ends with the process.
	return s.Run(ctx)
}

// chain compares the CPU cost of a request in a gateway and a queue-proxy together with
// its cost in one other proxy, in front of the cheapest origin. Nothing else runs, so it
// shows changes of either better than through does.
func chain(ctx context.Context, b *bench) ([]section, error) {
	return inPlane(b, func(p *plane) ([]section, error) { return p.chain(ctx) })
}

// addThrough adds a gateway in front of a queue-proxy to a race, which stops the gateway. The
// caller stops the queue-proxy behind it.
func (p *plane) addThrough(ctx context.Context, r *race) (behind *contender, err error) {
	if behind, err = p.start(ctx, labelQueue); err != nil {
		return nil, err
	}
	before, err := (&plane{b: p.b, dir: p.dir, origin: behind.addr}).start(ctx, labelFront)
	if err != nil {
		return nil, errors.Join(err, behind.stop())
	}
	before.label = labelThrough
	before.pids = append(before.pids, behind.pids...)
	r.lanes = append(r.lanes, &lane{contender: before})
	return behind, nil
}

func (p *plane) chain(ctx context.Context) (_ []section, err error) {
	r, err := p.race(ctx, labelHAProxy, labelReverse, labelPooled, labelQueue)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	behind, err := p.addThrough(ctx, r)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, behind.stop()) }()
	get := shot{head: "GET /0123 HTTP/1.1\r\nHost: " + planeHost + "\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"}
	if err := r.run(ctx, same(get), planeConns, throughRounds); err != nil {
		return nil, err
	}
	out := section{
		Title:   fmt.Sprintf("small requests through gateway and queue-proxy without an agent, %d connections, %d turns of %v each", planeConns, throughRounds, planeTurn),
		Columns: []string{"µs CPU/req", "× ReverseProxy", "min", "max", "first µs", "req/s"},
	}
	for _, l := range r.lanes {
		to := r.ratio(l.label, labelReverse)
		out.add(l.label, l.each()*1e6, to.median, to.min, to.max, l.perAnswer(func(t turn) time.Duration { return t.first })*1e6, l.rate())
	}
	r.notes(&out)
	out.judge("gateway's and queue-proxy's CPU against one ReverseProxy's", r.ratio(labelThrough, labelReverse).median, 0.9)
	return []section{out}, nil
}
