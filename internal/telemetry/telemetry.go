// Package telemetry writes an access log of the requests that pass the agent, and sends
// them as OpenTelemetry spans to a collector, by OTLP over HTTP. Both are made of a
// request's [activator.RequestRecord] when it has ended.
//
// It promises that it costs nothing while it is off: Handler returns next itself, and
// trace context passes as it came. A collector or a disk that is slow or away costs spans
// and lines, never requests.
//
// From a caller's trace context it takes the trace that the request belongs to, and that
// it is not sampled; a request without trace context begins a trace and is sampled. It
// refuses malformed trace context: it removes that, and begins a trace.
package telemetry

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi/proxy/accesslog"
	"github.com/wadi-run/wadi/proxy/activator"
	"github.com/wadi-run/wadi/proxy/recording"
)

// Config is what New needs. Log is required.
type Config struct {
	Name    string // Of the agent.
	Version string

	AccessLog io.Writer // Nil: none is written.
	Endpoint  string    // Of the collector, http or https, without /v1/traces; empty: no spans.

	Log        hclog.Logger
	Registerer prometheus.Registerer // Nil: no metrics.
}

// Telemetry makes access log and spans of requests. Run writes them.
type Telemetry struct {
	access *accesslog.Log // Nil: off.
	spans  *spans         // Nil: off.
}

// New returns a Telemetry with what cfg asks for. It opens no connection; ctx is for the
// set-up only.
func New(ctx context.Context, cfg Config) (*Telemetry, error) {
	if cfg.Log == nil {
		return nil, errors.New("telemetry: log is required")
	}
	t := &Telemetry{}
	if cfg.AccessLog != nil {
		t.access = accesslog.New(cfg.AccessLog)
		if cfg.Registerer != nil {
			t.access.Register(cfg.Registerer)
		}
	}
	if cfg.Endpoint != "" {
		var err error
		if t.spans, err = newSpans(ctx, cfg); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// On reports whether there is an access log or spans: whether requests need a record.
func (t *Telemetry) On() bool { return t.access != nil || t.spans != nil }

// Run writes until ctx ends, and then what is left, for a few seconds at most.
func (t *Telemetry) Run(ctx context.Context) error {
	var g sync.WaitGroup
	if t.access != nil {
		g.Go(func() { t.access.Run(ctx) })
	}
	<-ctx.Done()
	if t.spans != nil {
		g.Go(func() { t.spans.close(context.WithoutCancel(ctx)) })
	}
	g.Wait()
	return nil
}

// Handler wraps next, which serves a listener: "gateway" or "mesh". It is next itself if
// telemetry is off.
func (t *Telemetry) Handler(listener string, next http.Handler) http.Handler {
	if !t.On() {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := &exchange{begun: time.Now(), listener: listener, in: r, host: r.Host, path: r.URL.EscapedPath()}
		p.out.ResponseWriter = w
		ctx := activator.WithRequestRecord(r.Context(), &p.record)
		if t.spans != nil {
			p.span = t.spans.begin(ctx, p)
		}
		defer t.ended(p)
		next.ServeHTTP(&p.out, r.WithContext(ctx))
		p.complete = true
	})
}

// exchange is one request and its answer, as they pass the agent.
type exchange struct {
	begun      time.Time
	listener   string
	in         *http.Request
	host, path string // As they came.
	record     activator.RequestRecord
	out        recording.Writer
	complete   bool // The handler has returned without a panic.
	span       span
}

// status is the request's status: the refusal's for Wadi's own answers, else that of HTTP;
// 0 if the request was broken off before an answer.
func (p *exchange) status() int {
	switch {
	case p.record.Status != 0:
		return p.record.Status
	case p.out.Status == 0 && p.complete:
		return http.StatusOK
	}
	return p.out.Status
}

// code is the code of Wadi's own answer; empty: the app answered. Only the answer has it if
// the activator did not get the request, or the queue-proxy refused it.
func (p *exchange) code() string {
	if p.record.Code != "" {
		return p.record.Code
	}
	return p.out.Header().Get(activator.HeaderError)
}

// wait is how long the request waited for an instance, until end at the latest.
func (p *exchange) wait(end time.Time) time.Duration {
	switch {
	case p.record.Arrived.IsZero():
		return 0
	case p.record.Granted.IsZero():
		return end.Sub(p.record.Arrived)
	}
	return p.record.Granted.Sub(p.record.Arrived)
}

// ended writes what there is to write of a request that has ended.
func (t *Telemetry) ended(p *exchange) {
	end := time.Now()
	if t.spans != nil {
		t.spans.end(p, end)
	}
	if t.access == nil {
		return
	}
	e := accesslog.Entry{
		Time: p.begun, Method: p.in.Method, Host: p.host, Path: p.path, Protocol: p.in.Proto,
		Status: p.status(), BytesIn: p.record.BytesIn, BytesOut: cmp.Or(p.record.BytesOut, p.out.Bytes),
		Duration: end.Sub(p.begun), Wait: p.wait(end),
		Service: p.record.Service, Revision: p.record.Revision, Instance: p.record.Instance,
		Retries: max(0, p.record.Attempts-1), Code: p.code(), Caller: p.record.Caller, Peer: p.in.RemoteAddr,
		Trace: p.traceID(),
	}
	if c := p.record.Cold; c != nil {
		e.Cold = []accesslog.Phase{{Name: "queue", Took: c.Queue}, {Name: "place", Took: c.Place},
			{Name: "start", Took: c.Start}, {Name: "probe", Took: c.Probe}, {Name: "turn", Took: c.Turn}}
	}
	t.access.Write(&e)
}

// traceID is the trace that the request belonged to when it was forwarded.
func (p *exchange) traceID() string {
	if p.span.root != nil {
		if sc := p.span.root.SpanContext(); sc.IsSampled() {
			return sc.TraceID().String()
		}
	}
	return accesslog.TraceID(p.in.Header)
}
