package conns

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wadi-run/wadi/proxy/drain"
	"github.com/wadi-run/wadi/proxy/framing"
)

// server is an HTTP server behind a Listener of the traffic plane. It answers a request
// with the request's body.
type server struct {
	l              *Listener
	active, served atomic.Int64 // Requests.
}

// serve runs a server that takes at most max connections; 0 is the usual bound.
func serve(t *testing.T, max int) *server {
	t.Helper()
	below, err := drain.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{l: Traffic(below, 0, func(framing.Reason) {})}
	if max > 0 {
		s.l.max = max
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.active.Add(1)
			defer s.active.Add(-1)
			_, _ = io.Copy(w, r.Body)
			s.served.Add(1)
		}),
		Protocols: &protocols, ReadHeaderTimeout: ReadHeaderTimeout, IdleTimeout: IdleTimeout, ConnState: s.l.ConnState,
	}
	var serving sync.WaitGroup
	for _, l := range []net.Listener{s.l, s.l.Parked()} {
		serving.Go(func() { _ = srv.Serve(l) })
	}
	t.Cleanup(func() {
		_ = srv.Close()
		serving.Wait()
	})
	return s
}

// client is a connection to a server.
type client struct {
	t *testing.T
	net.Conn
	answers *bufio.Reader
}

func dial(t *testing.T, s *server) *client {
	t.Helper()
	conn, err := net.Dial("tcp", s.l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	return &client{t, conn, bufio.NewReader(conn)}
}

// ask sends a body and wants it back.
func (c *client) ask(body string) {
	c.t.Helper()
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	c.answer(body)
}

func (c *client) answer(want string) {
	c.t.Helper()
	res, err := http.ReadResponse(c.answers, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	if got, err := io.ReadAll(res.Body); err != nil || string(got) != want || res.StatusCode != 200 {
		c.t.Fatalf("%d %q, %v, want %q", res.StatusCode, got, err, want)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not %s after a minute", what)
		}
	}
}
