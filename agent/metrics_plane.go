package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/wadi-run/wadi/proxy/connlimit"
	"github.com/wadi-run/wadi/proxy/deadline"
	"github.com/wadi-run/wadi/proxy/stats"
)

const (
	maxMetricsConns = 256 // Open connections. New ones close idle ones.
	metricsStop     = time.Second
)

// metricsPlane serves what monitoring, load balancers and other agents read: metrics,
// readiness and statistics, and programs that Nomad's clients fetch. It is public to all that reach its listener.
type metricsPlane struct {
	server   *http.Server
	listener net.Listener
}

// openMetrics makes the plane and opens its listener.
func (a *Agent) openMetrics(ctx context.Context) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", a.cfg.Metrics.Address)
	if err != nil {
		return portError("metrics.address", a.cfg.Metrics.Address, err)
	}
	limiter := connlimit.New(maxMetricsConns, nil)
	a.metrics = &metricsPlane{listener: limiter.Listener(l), server: &http.Server{
		Handler: withoutBodies(a.metricsHandler()), ConnState: limiter.ConnState,
		WriteTimeout: stats.MaxWait + 30*time.Second, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: a.log.Named("metrics").StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}}
	a.opened.push("metrics listener", func() { _ = l.Close() })
	return nil
}

func (a *Agent) metricsHandler() http.Handler {
	mux := http.NewServeMux()
	all := prometheus.Gatherers{a.reg, a.leadership}
	mux.Handle("GET /metrics", promhttp.HandlerFor(all, promhttp.HandlerOpts{Registry: a.reg}))
	mux.Handle("GET /v1/stats", a.activator.StatsHandler())
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if why := a.health.unready(); why != "" { // It names no address: this listener is public.
			http.Error(w, why, http.StatusServiceUnavailable)
		}
	})
	if a.assets != nil {
		a.assets.handler.Register(mux)
	}
	return mux
}

// run serves until ctx ends. Long polls for statistics are cut off then: their readers ask
// again elsewhere.
func (p *metricsPlane) run(ctx context.Context) error {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), metricsStop)
		defer cancel()
		if p.server.Shutdown(bound) != nil {
			_ = p.server.Close()
		}
	}()
	err := p.server.Serve(p.listener)
	if errors.Is(err, http.ErrServerClosed) {
		<-stopped
		return nil
	}
	return fmt.Errorf("serve metrics: %w", err)
}

// withoutBodies is next, which reads no request bodies: a connection with an announced body
// does not wait for it.
func withoutBodies(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody {
			deadline.EndUnread(w, r)
		}
		next.ServeHTTP(w, r)
	})
}
