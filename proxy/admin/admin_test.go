package admin_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/proxy/admin"
)

// drain is a process's drain, which the test ends.
type drain struct {
	once  sync.Once
	begun chan struct{}
	over  chan struct{}
}

func newDrain() *drain { return &drain{begun: make(chan struct{}), over: make(chan struct{})} }

func (d *drain) begin() { d.once.Do(func() { close(d.begun) }) }

func (d *drain) hasBegun() bool {
	select {
	case <-d.begun:
		return true
	default:
		return false
	}
}

func (d *drain) wait(ctx context.Context) error {
	select {
	case <-d.over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A drain that has begun is answered with what follows from it, and no other.
func TestHandler_DrainNote(t *testing.T) {
	d := newDrain()
	h := admin.Handler(admin.Plane{Drain: d.begin, Draining: d.hasBegun, Drained: d.wait, Note: "restart", Log: hclog.NewNullLogger()})
	if got := compact(ask(h, "GET", "/v1/admin/drain", "").Body.String()); got != `{"draining":false,"drained":false}` {
		t.Errorf("before: %s", got)
	}
	close(d.over)
	if got := compact(ask(h, "PUT", "/v1/admin/drain", "").Body.String()); got != `{"draining":true,"drained":true,"note":"restart"}` {
		t.Errorf("after: %s", got)
	}
}

func plane(d *drain) (http.Handler, hclog.Logger) {
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: new(strings.Builder)})
	return admin.Handler(admin.Plane{
		Drain: d.begin, Draining: d.hasBegun, Drained: d.wait, Log: log,
		Dump: func() any { return map[string]int{"in_flight": 3} },
	}), log
}

func ask(h http.Handler, method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// compact is s without its white space.
func compact(s string) string { return strings.Join(strings.Fields(s), "") }

func TestHandler(t *testing.T) {
	h, _ := plane(newDrain())
	for _, tt := range []struct {
		method, path, body string
		want               int
		text               string
	}{
		{"GET", "/v1/admin/live", "", 200, `{"live":true}`},
		{"GET", "/v1/admin/dump", "", 200, `{"in_flight":3}`},
		{"GET", "/v1/admin/drain", "", 200, `{"draining":false,"drained":false}`},
		{"DELETE", "/v1/admin/drain", "", 405, "-"},
		{"PUT", "/v1/admin/live", "", 405, "-"},
		{"GET", "/v1/admin/log-level", "", 200, `{"level":"error"}`},
		{"PUT", "/v1/admin/log-level", `{"level": "loud"}`, 400, "-"},
		{"PUT", "/v1/admin/log-level", `{"level": ""}`, 400, "-"},
		{"PUT", "/v1/admin/log-level", ``, 400, "-"},
		{"PUT", "/v1/admin/log-level", strings.Repeat("x", 2000), 400, "-"},
		{"PUT", "/v1/admin/log-level", ` {"level": "warn"}`, 200, `{"level":"warn"}`},
		{"PUT", "/v1/admin/log-level", "debug\n", 200, `{"level":"debug"}`},
		{"GET", "/v1/admin/log-level", "", 200, `{"level":"debug"}`},
		{"GET", "/debug/pprof/", "", 200, "-"},
		{"GET", "/debug/pprof/goroutine?debug=1", "", 200, "-"},
		{"GET", "/debug/pprof/cmdline", "", 200, "-"},
		{"GET", "/metrics", "", 404, "-"},
	} {
		got := ask(h, tt.method, tt.path, tt.body)
		if got.Code != tt.want || tt.text != "-" && compact(got.Body.String()) != tt.text {
			t.Errorf("%s %s %.20q: %d %s, want %d %s", tt.method, tt.path, tt.body, got.Code, got.Body, tt.want, tt.text)
		}
	}
}

func TestHandler_LogLevelIsTheLoggers(t *testing.T) {
	h, log := plane(newDrain())
	ask(h, "PUT", "/v1/admin/log-level", "trace")
	if got := log.GetLevel(); got != hclog.Trace {
		t.Errorf("level %s, want trace", got)
	}
}

func TestHandler_DrainAnswersWhenDrained(t *testing.T) {
	for _, method := range []string{"PUT", "POST"} {
		d := newDrain()
		h, _ := plane(d)
		answered := make(chan string, 2)
		go func() { answered <- ask(h, method, "/v1/admin/drain", "").Body.String() }()
		<-d.begun
		go func() { answered <- ask(h, "GET", "/v1/admin/drain", "").Body.String() }()
		select {
		case got := <-answered:
			t.Errorf("%s: answered %q before the drain was over", method, got)
		default:
		}
		close(d.over)
		for range 2 {
			if got := compact(<-answered); got != `{"draining":true,"drained":true}` {
				t.Errorf("%s: %s", method, got)
			}
		}
	}
}

func TestHandler_DrainOfOneWhoGoes(t *testing.T) {
	d := newDrain()
	h, _ := plane(d)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "PUT", "/v1/admin/drain", nil))
	if w.Code != http.StatusServiceUnavailable || !d.hasBegun() {
		t.Errorf("%d, begun %t; want 503, and the drain goes on", w.Code, d.hasBegun())
	}
}

func TestHandler_NoPageOfAnotherSite(t *testing.T) {
	d := newDrain()
	close(d.over)
	h, _ := plane(d)
	for _, header := range [][]string{
		{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"},
	} {
		if got := ask(h, "POST", "/v1/admin/drain", "", header...).Code; got != http.StatusForbidden || d.hasBegun() {
			t.Errorf("%v: %d, draining %t", header, got, d.hasBegun())
		}
	}
}

func TestLoopback(t *testing.T) {
	h := admin.Loopback(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	for host, want := range map[string]int{
		"127.0.0.1:8022": 204, "[::1]:8022": 204, "localhost": 204, "LOCALHOST:1": 204, "10.0.0.1": 204,
		"evil.example:8022": 403, "localhost.evil.example": 403, "": 403, "127.0.0.1.evil.example": 403,
	} {
		r := httptest.NewRequest("GET", "/v1/admin/live", nil)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("host %q: %d, want %d", host, w.Code, want)
		}
	}
}
