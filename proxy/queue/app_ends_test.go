package queue_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// mortal is an app that ends under a request for /end, and is started again.
type mortal struct {
	t     *testing.T
	addr  string
	again bool // It dies of each such request, not only of the first.
	reset bool // It ends without having read that request.

	all sync.WaitGroup
	mu  sync.Mutex
	l   net.Listener // Nil while it is down.
	got int          // Requests for /end that it has seen, or could have.
	off bool         // It is not started any more.
}

func startMortal(t *testing.T, again, reset bool) *mortal {
	t.Helper()
	m := &mortal{t: t, addr: "127.0.0.1:0", again: again, reset: reset}
	m.start()
	t.Cleanup(func() {
		m.mu.Lock()
		m.off = true
		if m.l != nil {
			m.l.Close()
		}
		m.mu.Unlock()
		m.all.Wait()
	})
	return m
}

func (m *mortal) start() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.off {
		return
	}
	l, err := net.Listen("tcp", m.addr)
	if err != nil {
		m.t.Error(err)
		return
	}
	m.l, m.addr = l, l.Addr().String()
	m.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			m.all.Go(func() { m.serve(c) })
		}
	})
}

func (m *mortal) serve(c net.Conn) {
	defer c.Close()
	for in := bufio.NewReaderSize(c, 16); ; { // The smallest buffer: a reset leaves most unread.
		if m.reset {
			begin, err := in.Peek(len("GET /end"))
			if err != nil {
				return
			}
			if string(begin) == "GET /end" && m.ends() {
				return
			}
		}
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		if !m.reset && r.URL.Path == "/end" && m.ends() {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}
}

// ends takes a request for /end, and says whether the app ends under it. Its supervisor
// starts it again.
func (m *mortal) ends() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.got++
	if !m.again && m.got > 1 {
		return false
	}
	_ = m.l.Close()
	m.l = nil
	m.all.Go(func() {
		time.Sleep(50 * time.Millisecond)
		m.start()
	})
	return true
}

// An app ends at the moment when a request comes over an older connection. A request that
// it has read is not sent again, whatever its method: it may have killed the app.
func TestTraffic_AppEndsUnderARequest(t *testing.T) {
	for _, tt := range []struct {
		name, method string
		again, reset bool
		status, seen int
	}{
		{"it has read it", http.MethodGet, false, false, 502, 1},
		{"it has read it, POST", http.MethodPost, false, false, 502, 1},
		{"it dies of it", http.MethodGet, true, false, 502, 1},
		{"it has not read it", http.MethodGet, false, true, 200, 2},
		{"it dies of half of it", http.MethodGet, true, true, 502, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			app := startMortal(t, tt.again, tt.reset)
			s := startUnready(t, app.addr)
			s.waitReady()
			if got := s.get(s.Addr(), "/"); got.StatusCode != 200 {
				t.Fatalf("got %d %q", got.StatusCode, got.text)
			}
			got := s.do(t.Context(), tt.method, s.Addr(), "/end", "")
			if got.StatusCode != tt.status {
				t.Errorf("got %d %q, want %d", got.StatusCode, got.text, tt.status)
			}
			if tt.status == 502 && !strings.Contains(got.text, "the app broke the connection before it answered") {
				t.Errorf("got %q", got.text)
			}
			app.mu.Lock()
			defer app.mu.Unlock()
			if app.got != tt.seen {
				t.Errorf("the app has seen it %d times, want %d", app.got, tt.seen)
			}
		})
	}
}
