package upstream_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/wadi-run/wadi/proxy/upstream"
)

// cannedConn answers whatever is written to it with the same bytes, without a
// system call.
type cannedConn struct {
	net.Conn
	answer string
	left   string
	ended  bool // Its deadline is over.
}

func (c *cannedConn) Write(b []byte) (int, error) { c.left = c.answer; return len(b), nil }

func (c *cannedConn) Read(b []byte) (int, error) {
	if c.ended || c.left == "" {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b, c.left)
	c.left = c.left[n:]
	return n, nil
}

func (c *cannedConn) SetReadDeadline(t time.Time) error { c.ended = !t.IsZero(); return nil }
func (c *cannedConn) Close() error                      { return nil }

// blankWriter is a writer without a server.
type blankWriter struct{ header http.Header }

func (w *blankWriter) Header() http.Header         { return w.header }
func (w *blankWriter) WriteHeader(int)             {}
func (w *blankWriter) Write(b []byte) (int, error) { return len(b), nil }

// cannedForward returns what forwards one small request.
func cannedForward(t testing.TB) func() {
	const answer = "HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2026 21:00:00 GMT\r\nContent-Type: text/plain; charset=utf-8\r\n" +
		"Content-Length: 13\r\nServer: app\r\n\r\nHello, world\n"
	u := upstream.New(upstream.Config{Addr: "app", Dial: func(context.Context) (net.Conn, error) {
		return &cannedConn{answer: answer}, nil
	}})
	t.Cleanup(u.Close)
	r := httptest.NewRequest(http.MethodGet, "/path?query=1", nil)
	r.Header = http.Header{"User-Agent": {"test"}, "Accept": {"*/*"}, "X-Forwarded-For": {"10.0.0.1"}, "Accept-Encoding": {"gzip"}}
	w := &blankWriter{header: http.Header{}}
	return func() {
		clear(w.header)
		if err := u.Forward(w, r); err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkForward(b *testing.B) {
	forward := cannedForward(b)
	b.ReportAllocs()
	for b.Loop() {
		forward()
	}
}

// A small request costs next to no memory beyond what the server makes of it: the
// text of the answer's head, and its values.
func TestForward_Allocations(t *testing.T) {
	forward := cannedForward(t)
	if got := testing.AllocsPerRun(1000, forward); got > 3 {
		t.Errorf("got %.0f allocations for a request, want at most 3", got)
	}
}

// BenchmarkForward_Server is the same with sockets and servers on both sides.
func BenchmarkForward_Server(b *testing.B) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "Hello, world\n") }))
	defer app.Close()
	u := upstream.New(upstream.Config{Addr: app.Listener.Addr().String()})
	defer u.Close()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := u.Forward(w, r); err != nil {
			b.Error(err)
		}
	}))
	defer front.Close()
	b.ReportAllocs()
	for b.Loop() {
		res, err := http.Get(front.URL)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
}
