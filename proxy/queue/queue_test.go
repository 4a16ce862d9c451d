package queue_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/internal/freeport"
	"github.com/wadi-run/wadi/proxy/queue"
)

// sidecar is a running queue-proxy in front of an app.
type sidecar struct {
	*queue.Proxy
	t    *testing.T
	out  *lines
	stop context.CancelFunc
	done chan error
}

// lines is a writer whose content may be read at any time.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A drain settles almost at once in most tests. Tests that send requests to a draining
// instance use the longer time, so that a busy machine sends them in time.
const (
	settleSoon = time.Millisecond
	settleLate = 5 * time.Second
)

// start runs a queue-proxy in front of app, with environ besides the required environment.
// With a nil app nothing listens.
func start(t *testing.T, app http.HandlerFunc, environ ...string) *sidecar {
	t.Helper()
	return startSettling(t, settleSoon, app, environ...)
}

func startSettling(t *testing.T, settle time.Duration, app http.HandlerFunc, environ ...string) *sidecar {
	t.Helper()
	s := run(t, settle, serveApp(t, app), environ...)
	s.waitReady()
	return s
}

func startUnready(t *testing.T, target string, environ ...string) *sidecar {
	t.Helper()
	return run(t, settleSoon, target, environ...)
}

func run(t *testing.T, settle time.Duration, target string, environ ...string) *sidecar {
	t.Helper()
	cfg, errs := queue.ParseEnv(append([]string{
		"WADI_SERVICE=hello", "WADI_REVISION=hello-00001", "WADI_INSTANCE=alloc", "WADI_LISTEN=127.0.0.1:0",
		"WADI_ADMIN=127.0.0.1:0", "WADI_METRICS=127.0.0.1:0", "WADI_TARGET=" + target, "WADI_LOG_LEVEL=off",
	}, environ...))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	cfg.Settle, cfg.WriteByteTimeout = settle, deafSoon
	out := &lines{}
	p, err := queue.New(t.Context(), cfg, hclog.New(&hclog.LoggerOptions{Level: cfg.LogLevel, Output: io.Discard}), out)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &sidecar{Proxy: p, t: t, out: out, stop: cancel, done: make(chan error, 1)}
	go func() { s.done <- p.Run(ctx) }()
	t.Cleanup(func() { s.stop(); s.ended() })
	return s
}

// ended waits for the end of Run and returns its error.
func (s *sidecar) ended() error {
	err := <-s.done
	s.done <- err
	return err
}

func (s *sidecar) waitReady() {
	s.t.Helper()
	eventually(s.t, "ready", func() bool { return s.get(s.MetricsAddr(), "/ready").StatusCode == 200 })
}

// eventually polls until ok; only for what another process or goroutine does.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(2 * time.Minute); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not %s after two minutes", what)
		}
	}
}

// answer is a response with its body.
type answer struct {
	*http.Response
	text string
}

// get sends a GET for path to plane, with header as name, value, name, value, …
func (s *sidecar) get(plane, path string, header ...string) answer {
	s.t.Helper()
	return s.do(s.t.Context(), http.MethodGet, plane, path, "", header...)
}

func (s *sidecar) do(ctx context.Context, method, plane, path, body string, header ...string) answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+plane+path, strings.NewReader(body))
	if err != nil {
		s.t.Error(err) // Not Fatal: it may be called from any goroutine.
		return answer{&http.Response{}, ""}
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	tr := &http.Transport{DisableKeepAlives: true}
	res, err := tr.RoundTrip(req)
	if err != nil {
		return answer{&http.Response{}, err.Error()}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Errorf("read the answer to %s: %v", path, err)
	}
	return answer{res, string(text)}
}

// metric is the value of a metric, as text.
func (s *sidecar) metric(name string) string {
	s.t.Helper()
	for line := range strings.Lines(s.get(s.MetricsAddr(), "/metrics").text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (s *sidecar) stats(query string) (wadi.Stats, http.Header) {
	s.t.Helper()
	a := s.get(s.MetricsAddr(), "/v1/stats?"+query)
	var st wadi.Stats
	if err := json.Unmarshal([]byte(a.text), &st); err != nil {
		s.t.Fatalf("statistics %q: %v", a.text, err)
	}
	return st, a.Header
}

// serveApp starts an app that speaks HTTP/1.1 and HTTP/2 without TLS.
func serveApp(t *testing.T, h http.HandlerFunc) (addr string) {
	t.Helper()
	app := httptest.NewUnstartedServer(h)
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	app.Config.Protocols = &p
	app.Start()
	t.Cleanup(app.Close)
	return app.Listener.Addr().String()
}

// freeAddr is an address that nothing listens on. The kernel gives its port to no
// connection: a probe of one of the kernel's ports can connect to itself, and finds the app
// ready.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := freeport.Listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// gate is an app that answers requests when the test opens it.
type gate struct {
	entered chan string // The path of each request.
	leave   chan struct{}
}

func newGate() *gate { return &gate{make(chan string, 1000), make(chan struct{})} }

// next waits for the next request, and returns its path.
func (g *gate) next(t *testing.T) string {
	t.Helper()
	select {
	case path := <-g.entered:
		return path
	case <-time.After(2 * time.Minute):
		t.Fatal("no request came in")
		return ""
	}
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.entered <- r.URL.Path
	select {
	case <-g.leave:
		io.WriteString(w, "done")
	case <-r.Context().Done():
	}
}
