package telemetry_test

import (
	"compress/gzip"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/activator"
)

const (
	service  = "hello"
	revision = "hello-00001"
	instance = "alloc-1"
)

// otlp is a collector that keeps what it gets.
type otlp struct {
	*httptest.Server

	mu    sync.Mutex
	spans []*tracepb.Span
	paths []string
}

func newOTLP(t *testing.T) *otlp {
	c := &otlp{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			body, _ = gzip.NewReader(r.Body)
		}
		b, err := io.ReadAll(body)
		var req collector.ExportTraceServiceRequest
		if err != nil || proto.Unmarshal(b, &req) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.paths = append(c.paths, r.URL.Path)
		for _, rs := range req.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				c.spans = append(c.spans, ss.Spans...)
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(c.Close)
	return c
}

// byName is the received spans by their names, which differ.
func (c *otlp) byName(t *testing.T) map[string]*tracepb.Span {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[string]*tracepb.Span{}
	for _, s := range c.spans {
		if all[s.Name] != nil {
			t.Errorf("two spans %q", s.Name)
		}
		all[s.Name] = s
	}
	return all
}

// attribute is the text or number of a span's attribute.
func attribute(s *tracepb.Span, name string) any {
	for _, a := range s.GetAttributes() {
		if a.Key == name {
			if a.Value.GetStringValue() != "" {
				return a.Value.GetStringValue()
			}
			return a.Value.GetIntValue()
		}
	}
	return nil
}

// app is an instance that is placed when it is woken.
type app struct {
	*httptest.Server
	mu      sync.Mutex
	placed  []wadi.Endpoint
	changed chan struct{}
	seen    http.Header // Of the last request that was no probe.
}

func newApp(t *testing.T) *app {
	a := &app{changed: make(chan struct{})}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(wadi.HeaderRevision, revision)
		w.Header().Set(wadi.HeaderInstance, instance)
		if r.Header.Get(wadi.HeaderProbe) != "" {
			return
		}
		a.mu.Lock()
		a.seen = r.Header.Clone()
		a.mu.Unlock()
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "hello")
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *app) Endpoints(string) ([]wadi.Endpoint, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.placed, a.changed
}

// Wake takes a moment, so that the times of the parts differ. The node says that it pulls an
// image for as long as the instance starts.
func (a *app) Wake(context.Context, string) error {
	time.Sleep(30 * time.Millisecond)
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.placed) == 0 {
		a.placed = []wadi.Endpoint{{Revision: revision, Service: service, Instance: instance, Addr: a.Listener.Addr().String(), Pull: wadi.PullTime{Ongoing: true}}}
		close(a.changed)
		a.changed = make(chan struct{})
	}
	return nil
}

func (a *app) Diagnosis(string) wadi.Diagnosis { return wadi.Diagnosis{} }

func (a *app) Dial(ctx context.Context, ep wadi.Endpoint) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", ep.Addr)
}

func (a *app) header() http.Header {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.seen
}

// front is an activator with the app at zero, as a handler.
func (a *app) front(t *testing.T) http.Handler {
	t.Helper()
	act, err := activator.New(activator.Config{
		Name: "one", Boot: "1", Endpoints: a, Waker: a, Diagnoses: a, Dialer: a, Settings: activator.Settings{RequestRecords: true},
		Log: hclog.NewNullLogger(), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	set := wadi.RouteRevision{}
	set.Queue.Depth, set.Queue.Timeout = 10, wadi.Duration(30*time.Second)
	act.SetRoutes(map[string]wadi.Route{service: {
		Service: service, Protocol: wadi.HTTP1,
		Targets:   []wadi.RouteTarget{{Revision: revision, Weight: wadi.WeightAll}},
		Revisions: map[string]wadi.RouteRevision{revision: set},
	}})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { _ = act.Run(ctx); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host == "unknown.example" {
			activator.Refuse(w, r, activator.Refusal{Status: http.StatusNotFound, Code: activator.CodeNoHost, Message: "absent"})
			return
		}
		act.ServeRevision(w, r, service, revision)
	})
}
