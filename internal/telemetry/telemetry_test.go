package telemetry_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/wadi-run/wadi/internal/telemetry"
)

// bench is a gateway with telemetry, in front of an app at zero.
type bench struct {
	*httptest.Server
	app  *app
	otlp *otlp
	log  bytes.Buffer // Whole after stop.
	stop func()       // Writes what is left.
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{app: newApp(t), otlp: newOTLP(t)}
	tel, err := telemetry.New(t.Context(), telemetry.Config{Name: "one", AccessLog: &b.log, Endpoint: b.otlp.URL + "/", Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	b.Server = httptest.NewServer(tel.Handler("gateway", b.app.front(t)))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { _ = tel.Run(ctx); close(ended) }()
	b.stop = sync.OnceFunc(func() { b.Close(); cancel(); <-ended })
	t.Cleanup(b.stop)
	return b
}

func (b *bench) get(t *testing.T, host, path string, header ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.URL+path, strings.NewReader("abc"))
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.ReadAll(res.Body); err != nil {
		t.Fatal(err)
	}
	return res
}

const (
	callersTrace = "0af7651916cd43dd8448eb211c80319c"
	callersSpan  = "b7ad6b7169203331"
	sampled      = "00-" + callersTrace + "-" + callersSpan + "-01"
	notSampled   = "00-" + callersTrace + "-" + callersSpan + "-00"
)

func TestSpans_OfAColdRequest(t *testing.T) {
	b := newBench(t)
	begun := time.Now()
	b.get(t, "hello.example", "/a?secret=1", "Traceparent", sampled, "Tracestate", "vendor=1,other=2")
	took := time.Since(begun)
	b.stop()
	all := b.otlp.byName(t)
	root, wait, wake, up := all["gateway"], all["queue wait"], all["wake"], all["upstream"]
	if root == nil || wait == nil || wake == nil || up == nil || len(all) != 4 || b.otlp.paths[0] != "/v1/traces" {
		t.Fatalf("spans %v at %v", all, b.otlp.paths)
	}
	for _, tt := range []struct {
		name       string
		s          *tracepb.Span
		wantParent string
		kind       tracepb.Span_SpanKind
	}{
		{"gateway", root, callersSpan, tracepb.Span_SPAN_KIND_SERVER},
		{"queue wait", wait, hex.EncodeToString(root.SpanId), tracepb.Span_SPAN_KIND_INTERNAL},
		{"wake", wake, hex.EncodeToString(wait.SpanId), tracepb.Span_SPAN_KIND_INTERNAL},
		{"upstream", up, hex.EncodeToString(root.SpanId), tracepb.Span_SPAN_KIND_CLIENT},
	} {
		if got := hex.EncodeToString(tt.s.ParentSpanId); got != tt.wantParent || hex.EncodeToString(tt.s.TraceId) != callersTrace || tt.s.Kind != tt.kind {
			t.Errorf("%s: parent %s, trace %x, kind %s; want parent %s", tt.name, got, tt.s.TraceId, tt.s.Kind, tt.wantParent)
		}
	}
	within := func(inner, outer *tracepb.Span) bool {
		return inner.StartTimeUnixNano >= outer.StartTimeUnixNano && inner.EndTimeUnixNano <= outer.EndTimeUnixNano && inner.StartTimeUnixNano <= inner.EndTimeUnixNano
	}
	if !within(wait, root) || !within(wake, wait) || !within(up, root) || up.StartTimeUnixNano != wait.EndTimeUnixNano {
		t.Errorf("times: gateway %v, queue wait %v, wake %v, upstream %v", root, wait, wake, up)
	}
	if d := time.Duration(wake.EndTimeUnixNano - wake.StartTimeUnixNano); d < 30*time.Millisecond || d > took {
		t.Errorf("the wake took %v, want at least 30ms and at most %v", d, took)
	}
	for name, want := range map[string]any{
		"url.path": "/a", "http.response.status_code": int64(200), "wadi.service": service, "wadi.revision": revision,
		"http.request.method": "POST", "server.address": "hello.example", "wadi.error": nil,
	} {
		if got := attribute(root, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if attribute(wake, "wadi.pull_seconds") == nil {
		t.Errorf("the wake's span has %v, want how long an image was pulled", wake.Attributes)
	}
	if got := attribute(up, "wadi.instance"); got != instance {
		t.Errorf("instance %v", got)
	}
	// The app's parent is the span of the way to it.
	h := b.app.header()
	if want := "00-" + callersTrace + "-" + hex.EncodeToString(up.SpanId) + "-01"; h.Get("Traceparent") != want || h.Get("Tracestate") != "vendor=1,other=2" {
		t.Errorf("the app saw %q %q, want %q", h.Get("Traceparent"), h.Get("Tracestate"), want)
	}
}

func TestSpans_TraceContext(t *testing.T) {
	for _, tt := range []struct {
		name   string
		header []string
		spans  bool
		parent string // Of the gateway's span.
		same   bool   // The app sees what the caller sent.
	}{
		{"none", nil, true, "", false},
		{"not sampled", []string{"Traceparent", notSampled, "Tracestate", "a=1"}, false, "", true},
		{"malformed", []string{"Traceparent", "00-xyz", "Tracestate", "a=1"}, true, "", false},
		{"of zeros", []string{"Traceparent", "00-" + strings.Repeat("0", 32) + "-" + callersSpan + "-01"}, true, "", false},
		{"a version that can't be", []string{"Traceparent", "ff" + sampled[2:]}, true, "", false},
		{"two", []string{"Traceparent", sampled, "Traceparent", notSampled}, true, "", false},
		{"a version to come", []string{"Traceparent", "cc" + sampled[2:] + "-more"}, true, callersSpan, false},
		{"a long one", []string{"Traceparent", strings.Repeat("0", 5000)}, true, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.get(t, "hello.example", "/", tt.header...)
			b.stop()
			root := b.otlp.byName(t)["gateway"]
			if (root != nil) != tt.spans {
				t.Fatalf("a span: %t, want %t", root != nil, tt.spans)
			}
			if got := hex.EncodeToString(root.GetParentSpanId()); got != tt.parent {
				t.Errorf("parent %q, want %q", got, tt.parent)
			}
			h := b.app.header()
			if same := len(tt.header) > 1 && h.Get("Traceparent") == tt.header[1] && len(h["Traceparent"]) == 1; same != tt.same {
				t.Errorf("the app saw %q", h["Traceparent"])
			}
			if !tt.same && h.Get("Tracestate") != "" {
				t.Errorf("the app saw the state %q of a trace that is not its own", h.Get("Tracestate"))
			}
			if got := h.Get("Traceparent"); len(got) != 55 {
				t.Errorf("the app saw %q", got)
			}
		})
	}
}

func TestAccessLog(t *testing.T) {
	b := newBench(t)
	b.get(t, "hello.example", "/cold?secret=1")
	b.get(t, "hello.example", "/w%0aarm", "Traceparent", notSampled)
	b.get(t, "unknown.example", "/")
	b.stop()
	type line struct {
		Method, Host, Path, Service, Revision, Instance, Error, Peer string
		Status                                                       int
		BytesIn                                                      int64   `json:"bytes_in"`
		BytesOut                                                     int64   `json:"bytes_out"`
		Duration                                                     float64 `json:"duration_seconds"`
		Wait                                                         float64 `json:"wait_seconds"`
		Trace                                                        string  `json:"trace_id"`
		Cold                                                         map[string]float64
	}
	var got []line
	for _, text := range strings.Split(strings.TrimSpace(b.log.String()), "\n") {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if l.Peer == "" || l.Duration <= 0 || len(l.Trace) != 32 || strings.Contains(text, "secret") {
			t.Errorf("line %s", text)
		}
		got = append(got, l)
	}
	if len(got) != 3 {
		t.Fatalf("%d lines", len(got))
	}
	cold, warm, nobody := got[0], got[1], got[2]
	if cold.Status != 200 || cold.BytesIn != 3 || cold.BytesOut != 5 || cold.Wait < .03 || cold.Wait > cold.Duration ||
		cold.Cold["place_seconds"] < .03 || cold.Service != service || cold.Revision != revision || cold.Instance != instance || cold.Path != "/cold" {
		t.Errorf("cold: %+v", cold)
	}
	if pull := cold.Cold["pull_seconds"]; pull <= 0 || pull > cold.Wait || cold.Cold["start_seconds"] > 0 {
		t.Errorf("cold: %+v, want the start to be a pull", cold.Cold)
	}
	if warm.Path != "/w%0aarm" || warm.Cold != nil || warm.Trace != callersTrace || warm.Host != "hello.example" || warm.Method != "POST" {
		t.Errorf("warm: %+v", warm)
	}
	if nobody.Status != 404 || nobody.Error != "unknown_host" || nobody.Wait != 0 || nobody.BytesOut != 7 || nobody.Service != "" {
		t.Errorf("of an unknown host: %+v", nobody)
	}
}

// Telemetry that is off is not even called: the handler is the given one.
func TestOff_CostsNothing(t *testing.T) {
	tel, err := telemetry.New(t.Context(), telemetry.Config{Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	next := &nothing{}
	h := tel.Handler("gateway", next)
	if h != http.Handler(next) || tel.On() {
		t.Errorf("handler %T, on %t", h, tel.On())
	}
	r, w := httptest.NewRequest("GET", "/", nil), httptest.NewRecorder()
	r.Header.Set("Traceparent", "00-xyz")
	if got := testing.AllocsPerRun(100, func() { h.ServeHTTP(w, r) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
	if got := r.Header.Get("Traceparent"); got != "00-xyz" {
		t.Errorf("trace context %q", got)
	}
}

// Without a collector trace context passes as it came, whether it makes sense or not.
func TestOff_TraceContextPasses(t *testing.T) {
	tel, err := telemetry.New(t.Context(), telemetry.Config{Log: hclog.NewNullLogger(), AccessLog: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{app: newApp(t)}
	b.Server = httptest.NewServer(tel.Handler("gateway", b.app.front(t)))
	defer b.Close()
	for _, parent := range []string{sampled, notSampled, "nonsense"} {
		b.get(t, "hello.example", "/", "Traceparent", parent, "Tracestate", "a=1,b=2")
		if h := b.app.header(); h.Get("Traceparent") != parent || h.Get("Tracestate") != "a=1,b=2" {
			t.Errorf("the app saw %q %q, want %q", h["Traceparent"], h["Tracestate"], parent)
		}
	}
}

type nothing struct{}

func (*nothing) ServeHTTP(http.ResponseWriter, *http.Request) {}

// A collector that does not answer is no reason to wait, neither for a request nor
// for the process's end.
func TestSpans_CollectorAway(t *testing.T) {
	hang := make(chan struct{})
	away := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer away.Close()
	defer close(hang)
	tel, err := telemetry.New(t.Context(), telemetry.Config{Endpoint: away.URL, Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	h := tel.Handler("gateway", &nothing{})
	for range 10_000 {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ended := make(chan struct{})
	go func() { _ = tel.Run(ctx); close(ended) }()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("the end waits for the collector")
	}
}

// A handler that panics is logged too, and its panic goes on.
func TestAccessLog_OfAnAbort(t *testing.T) {
	var log bytes.Buffer
	tel, err := telemetry.New(t.Context(), telemetry.Config{AccessLog: &log, Log: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if recover() != http.ErrAbortHandler {
				t.Error("it did not break off")
			}
		}()
		tel.Handler("gateway", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })).
			ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/x", nil))
	}()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = tel.Run(ctx)
	if got := log.String(); !strings.Contains(got, `"path":"/x"`) || !strings.Contains(got, `"status":0,`) {
		t.Errorf("line %q", got)
	}
}

// The access log is turned on and off for requests that end from then on.
func TestSetAccessLog(t *testing.T) {
	var log bytes.Buffer
	tel, err := telemetry.New(t.Context(), telemetry.Config{Log: hclog.NewNullLogger(), AccessLog: &log})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{app: newApp(t)}
	front := tel.Handler("gateway", b.app.front(t))
	for path, on := range map[string]bool{"/a": false, "/b": true, "/c": false} {
		tel.SetAccessLog(on)
		if tel.On() != on {
			t.Errorf("on is %v, want %v", tel.On(), on)
		}
		b.Server = httptest.NewServer(front)
		b.get(t, "hello.example", path)
		b.Close() // The request has ended.
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tel.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"/b"`) {
		t.Errorf("got %s", got)
	}
}
