package telemetry

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Bounds of the buffer for the collector. Beyond them spans are dropped.
const (
	maxSpans      = 4096
	maxBatch      = 512
	batchEvery    = 2 * time.Second
	exportTimeout = 5 * time.Second
	closeTimeout  = 3 * time.Second // For the spans that are left when the agent ends.
	complainEvery = time.Minute     // Of a collector that is away.
	maxAttribute  = 1 << 10         // Bytes of a text that a caller chose.
)

// Headers of W3C trace context. The second passes as it came: Wadi adds nothing to it.
const (
	headerParent = "Traceparent"
	headerState  = "Tracestate"
)

// spans sends spans to a collector.
type spans struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

// span is what begins when a request comes: its own span, and the ID of the later span of
// the upstream request, which is the parent of the app's spans.
type span struct {
	ctx      context.Context
	root     trace.Span // Nil: the request is not sampled.
	upstream trace.SpanID
}

// newSpans makes the exporter and its pipeline. The exporter connects when it has something
// to send.
func newSpans(ctx context.Context, cfg Config) (*spans, error) {
	exporter, err := otlptracehttp.New(ctx,
		otlptracehttp.WithEndpointURL(strings.TrimSuffix(cfg.Endpoint, "/")+"/v1/traces"), otlptracehttp.WithTimeout(exportTimeout))
	if err != nil {
		return nil, fmt.Errorf("telemetry: send spans to %s: %w", cfg.Endpoint, err)
	}
	// The library has no other way to report that the collector is away.
	otel.SetErrorHandler(&complaints{log: cfg.Log, endpoint: cfg.Endpoint})
	limits := sdk.NewSpanLimits()
	limits.AttributeValueLengthLimit = maxAttribute
	provider := sdk.NewTracerProvider(
		sdk.WithBatcher(exporter, sdk.WithMaxQueueSize(maxSpans), sdk.WithMaxExportBatchSize(maxBatch), sdk.WithBatchTimeout(batchEvery), sdk.WithExportTimeout(exportTimeout)),
		sdk.WithSampler(sdk.ParentBased(sdk.AlwaysSample())),
		sdk.WithIDGenerator(ids{}),
		sdk.WithRawSpanLimits(limits),
		sdk.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "wadi"), attribute.String("service.version", cfg.Version), attribute.String("service.instance.id", cfg.Name))),
	)
	return &spans{provider: provider, tracer: provider.Tracer("github.com/wadi-run/wadi")}, nil
}

// close sends the spans that are left.
func (s *spans) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	_ = s.provider.Shutdown(ctx) // The error handler gets the error.
}

// begin begins the span of a request, and makes the span of the upstream request the
// parent of the app's spans.
func (s *spans) begin(ctx context.Context, x *exchange) span {
	h := x.in.Header
	parent := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(h)))
	if !parent.IsValid() || len(h[headerParent]) > 1 {
		h.Del(headerParent)
		h.Del(headerState)
		parent = trace.SpanContext{}
	}
	ctx, root := s.tracer.Start(trace.ContextWithRemoteSpanContext(ctx, parent), x.listener,
		trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(x.begun))
	if !root.IsRecording() {
		return span{} // The caller's trace context passes as it came.
	}
	sc, upstream := root.SpanContext(), newSpanID()
	h.Set(headerParent, fmt.Sprintf("00-%s-%s-%s", sc.TraceID(), upstream, sc.TraceFlags()))
	return span{ctx: ctx, root: root, upstream: upstream}
}

// end ends the span of a request, and makes the spans of its parts.
func (s *spans) end(x *exchange, end time.Time) {
	if x.span.root == nil {
		return
	}
	end = x.at(end)
	s.waits(x, end)
	if t := &x.record; !t.Granted.IsZero() {
		_, up := s.tracer.Start(context.WithValue(x.span.ctx, wanted{}, x.span.upstream), "upstream",
			trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(x.at(t.Granted)),
			trace.WithAttributes(attribute.String("wadi.instance", t.Instance), attribute.Int("http.request.resend_count", max(0, t.Attempts-1))))
		if !t.FirstByte.IsZero() {
			up.AddEvent("first byte", trace.WithTimestamp(x.at(t.FirstByte)))
		}
		if t.Aborted || t.Code != "" {
			up.SetStatus(codes.Error, t.Code)
		}
		up.End(trace.WithTimestamp(end))
	}
	status := x.status()
	x.span.root.SetAttributes(x.attributes(status)...)
	if status >= 500 || status == 0 || x.record.Aborted {
		x.span.root.SetStatus(codes.Error, x.code())
	}
	x.span.root.End(trace.WithTimestamp(end))
}

// waits makes the spans of the wait for an instance, and of its wake within.
func (s *spans) waits(x *exchange, end time.Time) {
	t := &x.record
	refused := t.Granted.IsZero() && !t.Arrived.IsZero()
	if t.Cold == nil && !refused {
		return
	}
	arrived, until := x.at(t.Arrived), x.at(t.Granted)
	if refused {
		until = end
	}
	ctx, wait := s.tracer.Start(x.span.ctx, "queue wait", trace.WithTimestamp(arrived))
	if refused {
		wait.SetStatus(codes.Error, t.Code)
	}
	if c := t.Cold; c != nil && c.Place+c.Pull+c.Start+c.Probe > 0 {
		begun := arrived.Add(c.Queue)
		placed := begun.Add(c.Place)
		answered := placed.Add(c.PullBefore + c.Start)
		_, wake := s.tracer.Start(ctx, "wake", trace.WithTimestamp(begun))
		wake.AddEvent("placed", trace.WithTimestamp(placed))
		wake.AddEvent("answered", trace.WithTimestamp(answered))
		if c.Pull > 0 {
			wake.SetAttributes(attribute.Float64("wadi.pull_seconds", c.Pull.Seconds()))
		}
		wake.End(trace.WithTimestamp(answered.Add(c.Pull - c.PullBefore + c.Probe)))
	}
	wait.End(trace.WithTimestamp(until))
}

// at is t by the clock at which the request came. The machine's own clock may be set, or
// run faster for a while, in between; then the parts would not fit into the whole.
func (x *exchange) at(t time.Time) time.Time { return x.begun.Add(t.Sub(x.begun)) }

// attributes are the attributes of a request's span, by OpenTelemetry's names. The query
// is not among them: it may have secrets.
func (x *exchange) attributes(status int) []attribute.KeyValue {
	all := []attribute.KeyValue{
		attribute.String("http.request.method", method(x.in.Method)), attribute.String("url.path", strings.ToValidUTF8(x.path, "�")),
		attribute.String("server.address", strings.ToValidUTF8(x.host, "�")), attribute.String("network.peer.address", x.in.RemoteAddr),
		attribute.String("network.protocol.version", strings.TrimPrefix(x.in.Proto, "HTTP/")),
	}
	if status != 0 {
		all = append(all, attribute.Int("http.response.status_code", status))
	}
	for _, a := range []struct{ name, value string }{
		{"wadi.service", x.record.Service}, {"wadi.revision", x.record.Revision}, {"wadi.caller", x.record.Caller}, {"wadi.error", x.code()},
	} {
		if a.value != "" {
			all = append(all, attribute.String(a.name, a.value))
		}
	}
	return all
}

// method is m if it is a known method, and else _OTHER, as OpenTelemetry asks for.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return m
	}
	return "_OTHER"
}

// wanted is the key of the ID that the next span gets.
type wanted struct{}

// ids makes random IDs. A span gets the ID that its context has under wanted.
type ids struct{}

func (ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	var t trace.TraceID
	for !t.IsValid() {
		hi, lo := rand.Uint64(), rand.Uint64()
		for i := range 8 {
			t[i], t[8+i] = byte(hi>>(8*i)), byte(lo>>(8*i))
		}
	}
	return t, newSpanID()
}

func (ids) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	if id, ok := ctx.Value(wanted{}).(trace.SpanID); ok {
		return id
	}
	return newSpanID()
}

func newSpanID() (id trace.SpanID) {
	for !id.IsValid() {
		n := rand.Uint64()
		for i := range id {
			id[i] = byte(n >> (8 * i))
		}
	}
	return id
}

// complaints logs the library's errors: one a minute as a warning, the others for debugging.
type complaints struct {
	log      hclog.Logger
	endpoint string

	mu   sync.Mutex
	last time.Time
}

// Handle implements otel.ErrorHandler.
func (c *complaints) Handle(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.last) < complainEvery {
		c.log.Debug("spans were not sent", "endpoint", c.endpoint, "error", err)
		return
	}
	c.last = time.Now()
	c.log.Warn("spans were not sent, and are lost", "endpoint", c.endpoint, "error", err)
}
