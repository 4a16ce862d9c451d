package queue

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy"
	"github.com/wadi-run/wadi/proxy/accesslog"
	"github.com/wadi-run/wadi/proxy/deadline"
	"github.com/wadi-run/wadi/proxy/drain"
	"github.com/wadi-run/wadi/proxy/framing"
	"github.com/wadi-run/wadi/proxy/hangup"
	"github.com/wadi-run/wadi/proxy/limiter"
	"github.com/wadi-run/wadi/proxy/queue/conns"
	"github.com/wadi-run/wadi/proxy/queue/diagnosis"
	"github.com/wadi-run/wadi/proxy/queue/probe"
	"github.com/wadi-run/wadi/proxy/stats"
	"github.com/wadi-run/wadi/proxy/upstream"
)

// Bounds of the servers.
const (
	planeIdleTimeout = 10 * time.Second // Of the admin and metrics planes.
	planesTimeout    = 250 * time.Millisecond
	maxStreams       = 1024 // HTTP/2 streams of one connection.

	// appIdleTimeout is shorter than that of common servers, so that the app seldom closes
	// a connection under a request. A new connection costs little.
	appIdleTimeout = 1500 * time.Millisecond
	// maxLinger bounds how long a request whose caller has gone counts against the limit,
	// while the app neither answers nor closes its side.
	maxLinger = 10 * time.Second
)

// forwarder sends requests to the app, see [upstream.Upstream].
type forwarder interface {
	ForwardAfter(http.ResponseWriter, *http.Request, upstream.Breaks) error
	Conns() (open, idle int)
	Close()
}

// Proxy is a queue-proxy with its listeners open. New makes one, Run runs it.
type Proxy struct {
	cfg    Config
	log    hclog.Logger
	access *accesslog.Log // Nil unless asked for.

	limiter   *limiter.Limiter
	release   func() // Frees the slot of an admitted request.
	clock     *stats.Clock
	recorder  *stats.Recorder
	app       forwarder
	deadlines *deadline.Timer
	ready     *probe.Readiness
	diagnosis *diagnosis.Diagnosis
	shield    shield
	drain     *drain.Drain
	orders    orders // To go or to stay, unlike drain, which ends the process.
	conns     *conns.Listener
	planes    struct{ admin, metrics *conns.Listener }
	drainEnd  atomic.Int64 // When the drain aborts the remaining requests, in Unix nanoseconds; 0: no drain has begun.
	callers   hangup.Watcher
	inFlight  *inFlight
	metrics   *metrics

	listeners struct{ traffic, admin, metrics net.Listener }
}

// New opens the listeners, in ctx, and returns the proxy that serves them. It writes the
// access log to access, if the configuration asks for one.
func New(ctx context.Context, cfg Config, log hclog.Logger, access io.Writer) (*Proxy, error) {
	p := &Proxy{cfg: cfg, log: log, clock: stats.NewClock(), inFlight: &inFlight{}, drain: drain.New(), deadlines: deadline.NewTimer(cfg.Timeout)}
	if cfg.AccessLog {
		p.access = accesslog.New(access)
	}
	var linger time.Duration
	if cfg.Limit > 0 {
		p.limiter = limiter.New(cfg.Limit, cfg.Depth)
		linger = maxLinger
	} else {
		p.limiter = limiter.New(cfg.MaxInFlight, 0)
	}
	p.release = p.limiter.Release
	p.recorder = p.clock.NewRecorder(cfg.Instance, rand.Text(), cfg.Revision, cfg.History)
	p.app = upstream.New(upstream.Config{
		Addr: cfg.Target, Protocol: cfg.Protocol, IdleTimeout: appIdleTimeout, Linger: linger,
		Unwatched: deadline.UnwatchedFor(cfg.Timeout),
		Distrusted: func() {
			log.Warn("the app sends more bytes than its answers announce: each of its connections carries one request from now on; correct its Content-Length, and bodies of 1xx, 204, 205, 304 and HEAD")
		},
	})
	p.diagnosis = diagnosis.New(cfg.diagnosed())
	p.ready = probe.NewReadiness(probe.Config{
		Probe: probe.New(cfg.Probe, cfg.Protocol, cfg.Target), Timeout: cfg.Probe.Timeout.D(),
		Repeat: cfg.Probe.HTTP != "" || cfg.Probe.GRPC != nil, // A TCP connection would only bother the app.
		Log:    log, Changed: func() { p.diagnosis.Forget(); p.clock.Wake() },
	})
	p.orders.changed = p.clock.Wake
	p.metrics = newMetrics(p)
	if p.access != nil {
		p.access.Register(p.metrics.registry)
	}
	if err := p.listen(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Proxy) listen(ctx context.Context) error {
	for _, l := range []struct {
		to   *net.Listener
		addr string
	}{
		{&p.listeners.traffic, p.cfg.Listen},
		{&p.listeners.admin, p.cfg.Admin},
		{&p.listeners.metrics, p.cfg.Metrics},
	} {
		opened, err := drain.Listen(ctx, l.addr)
		if err != nil {
			p.Close()
			return err // The error has "listen tcp" and the address.
		}
		*l.to = opened
	}
	p.planes.admin, p.planes.metrics = conns.Plane(p.listeners.admin), conns.Plane(p.listeners.metrics)
	p.conns = conns.Traffic(p.listeners.traffic.(*drain.Listener), p.cfg.MaxHTTP2,
		func(framing.Reason) { p.metrics.refusals[reasonMalformed].Inc() })
	return nil
}

// Close closes the listeners of a proxy that never runs.
func (p *Proxy) Close() {
	for _, l := range []net.Listener{p.listeners.traffic, p.listeners.admin, p.listeners.metrics} {
		if l != nil {
			_ = l.Close() // Nothing was written.
		}
	}
}

// Addr is the address of the traffic plane.
func (p *Proxy) Addr() string { return p.listeners.traffic.Addr().String() }

// AdminAddr is the address of the admin plane.
func (p *Proxy) AdminAddr() string { return p.listeners.admin.Addr().String() }

// MetricsAddr is the address of the metrics plane.
func (p *Proxy) MetricsAddr() string { return p.listeners.metrics.Addr().String() }

// Run serves until ctx ends, and then drains for at most [Config.Drain]. It returns nil
// unless a listener fails.
func (p *Proxy) Run(ctx context.Context) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer p.app.Close()
	defer p.callers.Close()
	traffic := p.trafficServer(work)
	admin := p.planeServer(work, p.adminHandler(), p.planes.admin)
	metrics := p.planeServer(work, p.metricsHandler(), p.planes.metrics)

	p.raiseShield(ctx)
	g, failed := errgroup.WithContext(work)
	serve := func(name string, s *http.Server, l net.Listener) {
		g.Go(func() error {
			if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve %s: %w", name, err)
			}
			return nil
		})
	}
	serve("traffic", traffic, p.conns)
	serve("traffic", traffic, p.conns.Parked())
	serve("admin", admin, p.planes.admin)
	serve("metrics", metrics, p.planes.metrics)
	g.Go(func() error { p.ready.Run(work); return nil })
	if p.access != nil {
		g.Go(func() error { p.access.Run(work); return nil })
	}
	g.Go(func() error { p.drain.Run(work, p.settle()); return nil })
	p.log.Info("queue-proxy started", "service", p.cfg.Service, "revision", p.cfg.Revision,
		"instance", p.cfg.Instance, "listen", p.Addr(), "admin", p.AdminAddr(), "metrics", p.MetricsAddr(), "target", p.cfg.Target)

	select {
	case <-ctx.Done():
		p.shutdown(work, traffic)
	case <-failed.Done():
	}
	p.shutDownPlanes(work, metrics, admin)
	stop()
	for _, s := range []*http.Server{traffic, admin, metrics} {
		_ = s.Close() // Whatever is still open ends with the process.
	}
	return g.Wait()
}

// shutDownPlanes lets the planes answer what waits there: the last statistics, and the end
// of the drain.
func (p *Proxy) shutDownPlanes(ctx context.Context, planes ...*http.Server) {
	ctx, cancel := context.WithTimeout(ctx, planesTimeout)
	defer cancel()
	p.clock.Wake()
	for _, s := range planes {
		_ = s.Shutdown(ctx) // The rest is cut off.
	}
}

// trafficServer speaks HTTP/1.1 and HTTP/2 without TLS.
func (p *Proxy) trafficServer(ctx context.Context) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s := p.server(ctx, p.trafficHandler(), p.conns)
	s.IdleTimeout = conns.IdleTimeout
	s.ConnContext = p.callers.ConnContext
	s.DisableGeneralOptionsHandler = true // OPTIONS * is the app's, too.
	s.Protocols = &protocols
	s.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams:          maxStreams,
		MaxReceiveBufferPerStream:     proxy.StreamBuffer,
		MaxReceiveBufferPerConnection: proxy.ConnBuffer,
		MaxReadFrameSize:              proxy.FrameSize,
		WriteByteTimeout:              cmp.Or(p.cfg.WriteByteTimeout, proxy.DeafAfter),
	}
	return s
}

// planeServer serves the admin or metrics plane, on which bodies are tiny.
func (p *Proxy) planeServer(ctx context.Context, h http.Handler, l *conns.Listener) *http.Server {
	s := p.server(ctx, h, l)
	s.IdleTimeout = planeIdleTimeout
	s.ReadTimeout = conns.ReadHeaderTimeout
	return s
}

func (p *Proxy) server(ctx context.Context, h http.Handler, l *conns.Listener) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: conns.ReadHeaderTimeout,
		MaxHeaderBytes:    proxy.MaxHeaderBytes,
		ConnState:         l.ConnState,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          p.log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
}

// quiet reports whether a request to path does not count as activity.
func (p *Proxy) quiet(path string) bool {
	for _, q := range p.cfg.Quiet {
		if path == q {
			return true
		}
	}
	return false
}

// setIdentity names this instance in an answer's header.
func (p *Proxy) setIdentity(h http.Header) {
	h.Set(wadi.HeaderRevision, p.cfg.Revision)
	if p.cfg.Instance != "" {
		h.Set(wadi.HeaderInstance, p.cfg.Instance)
	}
}
