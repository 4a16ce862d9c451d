// Package telemetry writes an access log of the requests that pass the agent, and sends
// them as OpenTelemetry spans to a collector, by OTLP over HTTP. Both are made of a
// request's [activator.RequestRecord] when it has ended.
//
// It promises that it costs nothing while it is off: a request passes to next as it came,
// and so does its trace context. A collector or a disk that is slow or away costs spans
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
	"sync/atomic"
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

	AccessLog io.Writer // Nil: none is ever written. See also [Telemetry.SetAccessLog].
	Endpoint  string    // Of the collector, http or https, without /v1/traces; empty: no spans.

	Log        hclog.Logger
	Registerer prometheus.Registerer // Nil: no metrics.
}

// Telemetry makes access log and spans of requests. Run writes them.
type Telemetry struct {
	access *accesslog.Log // Nil: off for good.
	spans  *spans         // Nil: off.
	silent atomic.Bool    // The access log is off.
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
func (t *Telemetry) On() bool { return t.spans != nil || t.logs() }

// SetAccessLog turns the access log on or off, for requests that end from now on. It is on
// at first.
func (t *Telemetry) SetAccessLog(on bool) { t.silent.Store(!on) }

func (t *Telemetry) logs() bool { return t.access != nil && !t.silent.Load() }

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
// there can be neither access log nor spans.
func (t *Telemetry) Handler(listener string, next http.Handler) http.Handler {
	if t.access == nil && t.spans == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !t.On() {
			next.ServeHTTP(w, r)
			return
		}
		x := &exchange{begun: time.Now(), listener: listener, in: r, host: r.Host, path: r.URL.EscapedPath()}
		x.out.ResponseWriter = w
		ctx := activator.WithRequestRecord(r.Context(), &x.record)
		if t.spans != nil {
			x.span = t.spans.begin(ctx, x)
		}
		defer t.ended(x)
		next.ServeHTTP(&x.out, r.WithContext(ctx))
		x.complete = true
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
func (x *exchange) status() int {
	switch {
	case x.record.Status != 0:
		return x.record.Status
	case x.out.Status == 0 && x.complete:
		return http.StatusOK
	}
	return x.out.Status
}

// code is the code of Wadi's own answer; empty: the app answered. Only the answer has it if
// the activator did not get the request, or the queue-proxy refused it.
func (x *exchange) code() string {
	if x.record.Code != "" {
		return x.record.Code
	}
	return x.out.Header().Get(activator.HeaderError)
}

// wait is how long the request waited for an instance, until end at the latest.
func (x *exchange) wait(end time.Time) time.Duration {
	switch {
	case x.record.Arrived.IsZero():
		return 0
	case x.record.Granted.IsZero():
		return end.Sub(x.record.Arrived)
	}
	return x.record.Granted.Sub(x.record.Arrived)
}

// ended writes what there is to write of a request that has ended.
func (t *Telemetry) ended(x *exchange) {
	end := time.Now()
	if t.spans != nil {
		t.spans.end(x, end)
	}
	if !t.logs() {
		return
	}
	e := accesslog.Entry{
		Time: x.begun, Method: x.in.Method, Host: x.host, Path: x.path, Protocol: x.in.Proto,
		Status: x.status(), BytesIn: x.record.BytesIn, BytesOut: cmp.Or(x.record.BytesOut, x.out.Bytes),
		Duration: end.Sub(x.begun), Wait: x.wait(end),
		Service: x.record.Service, Revision: x.record.Revision, Instance: x.record.Instance,
		Retries: max(0, x.record.Attempts-1), Code: x.code(), Caller: x.record.Caller, Peer: x.in.RemoteAddr,
		Trace: x.traceID(),
	}
	if c := x.record.Cold; c != nil {
		e.Cold = []accesslog.Phase{{Name: "queue", Took: c.Queue}, {Name: "place", Took: c.Place}, {Name: "pull", Took: c.Pull},
			{Name: "start", Took: c.Start}, {Name: "probe", Took: c.Probe}, {Name: "turn", Took: c.Turn}}
	}
	t.access.Write(&e)
}

// traceID is the trace that the request belonged to when it was forwarded.
func (x *exchange) traceID() string {
	if x.span.root != nil {
		if sc := x.span.root.SpanContext(); sc.IsSampled() {
			return sc.TraceID().String()
		}
	}
	return accesslog.TraceID(x.in.Header)
}
