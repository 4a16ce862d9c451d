package upstream_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/wadi-run/wadi/proxy/proxytest"
	"github.com/wadi-run/wadi/proxy/upstream"
)

// A connection that the peer has closed meanwhile, or on which something came that
// was not asked for, is not used again.
func TestHTTP1_StaleConnections(t *testing.T) {
	for name, tail := range map[string]string{
		"closed":               "",
		"an answer to nothing": "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			end, ended := make(chan struct{}), make(chan struct{})
			app := rawApp(t, func(_ int, c net.Conn, in *bufio.Reader) {
				_, _ = head(in)
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				<-end
				_, _ = io.WriteString(c, tail)
				_ = c.(*net.TCPConn).CloseWrite() // On the loopback, the peer has it when this returns.
				ended <- struct{}{}
				if rest, _ := io.ReadAll(in); len(rest) > 0 {
					t.Errorf("the connection was used again: %q", rest)
				}
			})
			u := upstream.New(upstream.Config{Addr: app, Dial: proxytest.Dialer(app)})
			for range 5 {
				w, err := do(u, http.MethodPost, nil) // No second try would do any harm to GET.
				if err != nil || w.Body.String() != "ok" {
					t.Fatalf("got %q, %v", w.Body, err)
				}
				end <- struct{}{}
				<-ended
			}
			u.Close()
		})
	}
}

// What comes after an answer is no other request's answer.
func TestHTTP1_MoreThanTheAnswer(t *testing.T) {
	app := rawApp(t, func(n int, c net.Conn, in *bufio.Reader) {
		_, _ = head(in)
		_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%dHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", n)
		if rest, _ := io.ReadAll(in); len(rest) > 0 {
			t.Errorf("the connection was used again: %q", rest)
		}
	})
	u := upstream.New(upstream.Config{Addr: app, Dial: proxytest.Dialer(app)})
	for i := range 3 {
		if w, err := do(u, http.MethodPost, nil); err != nil || w.Body.String() != fmt.Sprint(i+1) {
			t.Errorf("request %d: got %q, %v", i, w.Body, err)
		}
	}
	u.Close()
}

// A connection breaks under a request, so late that it could not be known: what may be
// sent twice is, once, over a new one.
func TestHTTP1_BreaksUnderARequest(t *testing.T) {
	for _, tt := range []struct {
		method, body string
		ok           bool
	}{{"GET", "", true}, {"PUT", "", true}, {"POST", "", false}, {"PUT", "x", false}} {
		app := rawApp(t, func(n int, c net.Conn, in *bufio.Reader) {
			for i := 0; ; i++ {
				lines, err := head(in)
				if err != nil || n == 1 && i == 1 {
					return
				}
				if contains(lines, "Content-Length: 1") {
					_, _ = in.ReadByte()
				}
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
		})
		u := upstream.New(upstream.Config{Addr: app, Dial: proxytest.Dialer(app)})
		for range 2 {
			w, err := do(u, tt.method, strings.NewReader(tt.body))
			if w.Body.String() == "ok" {
				continue
			}
			if tt.ok || err == nil || !err.Reused || err.Begun || err.Refused {
				t.Errorf("%s %q: got %+v, want it done again: %v", tt.method, tt.body, err, tt.ok)
			}
		}
		u.Close()
	}
}

// An upgraded connection passes on what comes, and that nothing more comes, each
// way by itself.
func TestHTTP1_TunnelHalfClosed(t *testing.T) {
	app := rawApp(t, func(_ int, c net.Conn, in *bufio.Reader) {
		lines, _ := head(in)
		if !contains(lines, "Upgrade: echo") || !contains(lines, "Connection: Upgrade") {
			t.Errorf("got %q", lines)
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: Echo\r\nX-A: b\r\n\r\nearly ")
		all, err := io.ReadAll(in)
		_, _ = fmt.Fprintf(c, "%s %v", all, err)
	})
	c, in := dial(t, front(t, upstream.Config{Addr: app}, nil))
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, upgrade\r\nUpgrade: echo\r\n\r\nhel")
	if line, err := in.ReadString(' '); err != nil { // Before the answer an end would be the request's.
		t.Fatalf("got %q, %v", line, err)
	}
	_, _ = io.WriteString(c, "lo")
	_ = c.(*net.TCPConn).CloseWrite()
	got, err := io.ReadAll(in)
	want := "101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: Echo\r\nX-A: b\r\n\r\nearly hello <nil>"
	if err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// Connections are used again, at most so many are opened at once, and those that
// wait are served by what comes free.
func TestHTTP1_Connections(t *testing.T) {
	var opened, opening, most atomic.Int64
	crowd := make(chan struct{}) // Closed when as many connections are being opened as may be.
	full := sync.OnceFunc(func() { close(crowd) })
	app := proxytest.Serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	u := upstream.New(upstream.Config{Addr: app, Handshake: func(context.Context, net.Conn) error {
		opened.Add(1)
		n := opening.Add(1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		if n == 32 {
			full()
		}
		<-crowd
		opening.Add(-1)
		return nil
	}, Dial: proxytest.Dialer(app)})
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			if w, err := do(u, http.MethodGet, nil); err != nil || w.Body.String() != "ok" {
				t.Errorf("got %q, %v", w.Body, err)
			}
		})
	}
	all.Wait()
	open, idle := u.Conns()
	if most.Load() != 32 || open != idle || int64(open) != opened.Load() {
		t.Errorf("%d opened, %d at once, %d open, %d idle", opened.Load(), most.Load(), open, idle)
	}
	u.Close()
	if open, idle := u.Conns(); open != 0 || idle != 0 {
		t.Errorf("%d open, %d idle after Close", open, idle)
	}
}

// Over TLS as well a closed connection is found before it is used again.
func TestHTTP1_OverTLS(t *testing.T) {
	var conns atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	trust := s.Client().Transport.(*http.Transport).TLSClientConfig
	u := upstream.New(upstream.Config{Dial: func(ctx context.Context) (net.Conn, error) {
		return (&tls.Dialer{Config: trust}).DialContext(ctx, "tcp", s.Listener.Addr().String())
	}})
	t.Cleanup(u.Close)
	for i, want := range []int64{1, 1, 2, 2} {
		if i == 2 {
			s.CloseClientConnections()
		}
		if w, err := do(u, http.MethodPost, strings.NewReader("hello")); err != nil || w.Body.String() != "hello" || conns.Load() != want {
			t.Errorf("request %d: got %q, %v, over connection %d, want %d", i, w.Body, err, conns.Load(), want)
		}
	}
}
