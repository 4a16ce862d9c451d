package queue

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
	"unsafe"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/queue/probe"
	"github.com/wadi-run/wadi/proxy/upstream"
)

// answering is an app that costs nothing.
type answering struct{ body []byte }

func (a answering) ForwardAfter(w http.ResponseWriter, r *http.Request, _ upstream.Breaks) error {
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(a.body)
	return err
}

func (answering) Conns() (open, idle int) { return 0, 0 }

func (answering) Close() {}

// sink is a writer that costs nothing.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) WriteHeader(int)             {}

// A server's writer has deadlines.
func (s *sink) SetReadDeadline(time.Time) error  { return nil }
func (s *sink) SetWriteDeadline(time.Time) error { return nil }

// ready has p believe that its app is ready.
func ready(t testing.TB, p *Proxy) {
	t.Helper()
	p.ready = probe.NewReadiness(probe.Config{
		Probe: func(context.Context) error { return nil }, Timeout: time.Second,
		Log: hclog.NewNullLogger(), Changed: func() {},
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); p.ready.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	<-p.ready.Wait()
}

// costless returns the traffic plane of a queue-proxy in front of such an app, and
// the request that an activator sends.
func costless(t testing.TB, environ ...string) (http.Handler, func() *http.Request) {
	t.Helper()
	cfg, errs := ParseEnv(append([]string{"WADI_SERVICE=hello", "WADI_REVISION=hello-00001", "WADI_INSTANCE=alloc", "WADI_LISTEN=127.0.0.1:0",
		"WADI_ADMIN=127.0.0.1:0", "WADI_METRICS=127.0.0.1:0", "WADI_TARGET=127.0.0.1:1"}, environ...))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	p, err := New(t.Context(), cfg, hclog.NewNullLogger(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	p.app = answering{body: []byte("hello")}
	ready(t, p)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Body = http.NoBody
	return p.trafficHandler(), func() *http.Request { // The handler removes the headers.
		r.Header[wadi.HeaderService], r.Header[wadi.HeaderRevision] = []string{"hello"}, []string{"hello-00001"}
		r.Header[wadi.HeaderInstance] = []string{"alloc"}
		return r
	}
}

func BenchmarkTraffic(b *testing.B) {
	for _, limit := range []int{0, 100} {
		b.Run(fmt.Sprint("limit=", limit), func(b *testing.B) {
			h, request := costless(b, fmt.Sprint("WADI_CONCURRENCY_LIMIT=", limit))
			w := &sink{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, request())
			}
		})
	}
}

// Beyond what the server allocates, a request takes its record and its copy with the
// context of its deadline, and in this test three headers.
func TestTraffic_Allocations(t *testing.T) {
	const ours, tests = 2, 3
	for _, limit := range []int{0, 100} {
		h, request := costless(t, fmt.Sprint("WADI_CONCURRENCY_LIMIT=", limit))
		w := &sink{http.Header{}}
		got := testing.AllocsPerRun(1000, func() { h.ServeHTTP(w, request()) })
		if got > ours+tests {
			t.Errorf("limit %d: %v allocations, want at most %d", limit, got-tests, ours)
		}
	}
}

// A few bytes more would cost each request 64: the allocator's next size is 576.
func TestRequest_FitsItsSizeClass(t *testing.T) {
	if size := unsafe.Sizeof(request{}); size > 512 {
		t.Errorf("a request has %d bytes, want at most 512", size)
	}
}
