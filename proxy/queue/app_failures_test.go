package queue_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wadi-run/wadi/proxy/proxytest"
)

// oneByOne is an app with a listen queue of backlog connections, which serves one connection
// after another, each with serve.
func oneByOne(t *testing.T, backlog int, serve func(c net.Conn)) (addr string) {
	t.Helper()
	l, err := proxytest.ShortQueue(backlog)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serve(c)
			c.Close()
		}
	}()
	return l.Addr().String()
}

// An app with a short listen queue gets the connections that it can't accept at once a
// little later: no caller gets an error. The kernel repeats a lost SYN after a second.
func TestTraffic_ShortListenQueue(t *testing.T) {
	app := oneByOne(t, 5, func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		time.Sleep(80 * time.Millisecond) // It works.
		fmt.Fprintf(c, "HTTP/1.0 200 OK\r\n\r\n%s", r.URL.Path)
	})
	s := startUnready(t, app)
	s.waitReady()
	var callers sync.WaitGroup
	for i := range 20 {
		callers.Go(func() {
			path := fmt.Sprint("/", i)
			if got := s.get(s.Addr(), path); got.StatusCode != 200 || got.text != path {
				t.Errorf("%s: got %d %q", path, got.StatusCode, got.text)
			}
		})
	}
	callers.Wait()
}

// The answer to a failed request says how the app failed.
func TestTraffic_HowTheAppFailed(t *testing.T) {
	for _, tt := range []struct {
		name, answer, want, reason string
	}{
		{"it breaks off", "", "the app broke the connection before it answered", "app_failed"},
		{"it breaks off in its head", "HTTP/1.1 200 OK\r\nX-A", "the app broke the connection before it answered", "app_failed"},
		{"a head over 64 KiB", "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 70<<10) + "\r\n\r\n", "the app sent a malformed answer: a head beyond 64 KiB", "app_malformed"},
		{"no HTTP", "SSH-2.0-OpenSSH_9.2\r\n\r\n", "the app sent a malformed answer: status line", "app_malformed"},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "the app sent a malformed answer: Content-Length", "app_malformed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			app := rawApp(t, func(c net.Conn, _ *http.Request) bool {
				_, _ = io.WriteString(c, tt.answer)
				return false
			})
			s := startUnready(t, app)
			s.waitReady()
			got := s.get(s.Addr(), "/")
			if got.StatusCode != http.StatusBadGateway || got.text != "queue-proxy: "+tt.want+"\n" {
				t.Errorf("got %d %q, want %q", got.StatusCode, got.text, tt.want)
			}
			if n := s.metric(`wadi_queue_refusals_total{reason="` + tt.reason + `"}`); n != "1" {
				t.Errorf("%s counts %q, want 1", tt.reason, n)
			}
		})
	}
}

// The same for apps that speak HTTP/2.
func TestTraffic_HowTheAppFailedHTTP2(t *testing.T) {
	app := serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/large" {
			w.Header().Set("X-A", strings.Repeat("a", 70<<10))
			return
		}
		panic(http.ErrAbortHandler)
	})
	s := startUnready(t, app, "WADI_PROTOCOL=h2c")
	s.waitReady()
	for path, want := range map[string]string{
		"/large": "the app sent a malformed answer: HTTP/2 error COMPRESSION_ERROR, as for a head beyond 64 KiB",
		"/reset": "the app reset the stream before it answered",
	} {
		if got := s.get(s.Addr(), path); got.StatusCode != http.StatusBadGateway || got.text != "queue-proxy: "+want+"\n" {
			t.Errorf("%s: got %d %q, want %q", path, got.StatusCode, got.text, want)
		}
	}
}
