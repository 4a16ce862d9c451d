package queue_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// hangsUp are the ways in which a caller ends its connection.
var hangsUp = map[string]func(*net.TCPConn){
	"closes": func(c *net.TCPConn) { _ = c.Close() },
	"resets": func(c *net.TCPConn) { _, _ = c.SetLinger(0), c.Close() },
	"ends":   func(c *net.TCPConn) { _ = c.CloseWrite() },
}

// waitsUnread are requests that the server does not read while they wait.
var waitsUnread = map[string]string{
	"nothing of a body": "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
	"some of it":        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab",
	"all of it":         "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde",
	"much of it":        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n" + strings.Repeat("a", 40_000),
	"chunks":            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
	"leave to send it":  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
	"no body":           "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"the next request":  "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n",
}

func (s *sidecar) states() (of map[string]int) {
	s.t.Helper()
	var d struct {
		Requests []struct{ State string }
	}
	if err := json.Unmarshal([]byte(s.get(s.AdminAddr(), "/v1/admin/dump").text), &d); err != nil {
		s.t.Fatal(err)
	}
	of = map[string]int{}
	for _, r := range d.Requests {
		of[r.State]++
	}
	return of
}

// callAll sends each of waitsUnread once, and returns how to end all of them.
func callAll(t *testing.T, s *sidecar, leave func(*net.TCPConn)) (leaveAll func()) {
	t.Helper()
	var all []*net.TCPConn
	for _, head := range waitsUnread {
		c, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		io.WriteString(c, head)
		all = append(all, c.(*net.TCPConn))
	}
	return func() {
		for _, c := range all {
			leave(c)
		}
	}
}

// A request that waits for the limit is cancelled when its caller goes, whether its body was
// read or not, and does not reach the app later.
func TestHangUp_InTheQueue(t *testing.T) {
	for name, leave := range hangsUp {
		t.Run(name, func(t *testing.T) {
			var seen atomic.Int32
			goOn := make(chan struct{})
			release := sync.OnceFunc(func() { close(goOn) })
			defer release()
			s := start(t, func(http.ResponseWriter, *http.Request) { seen.Add(1); <-goOn }, "WADI_CONCURRENCY_LIMIT=1")
			first, err := net.Dial("tcp", s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer first.Close()
			io.WriteString(first, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			eventually(t, "in the app", func() bool { return seen.Load() == 1 })
			leaveAll := callAll(t, s, leave)
			eventually(t, "waiting", func() bool { return s.states()["queued"] == len(waitsUnread) })
			leaveAll()
			eventually(t, "rid of them", func() bool { return s.states()["queued"] == 0 })
			release()
			eventually(t, "empty", func() bool { return len(s.states()) == 0 })
			if got := seen.Load(); got != 1 {
				t.Errorf("the app saw %d requests of callers that had gone", got-1)
			}
		})
	}
}

// The same for a request that waits for the app.
func TestHangUp_BeforeTheAppIsReady(t *testing.T) {
	var seen atomic.Int32
	addr := freeAddr(t) // The app is not started yet.
	s := startUnready(t, addr)
	leaveAll := callAll(t, s, hangsUp["closes"])
	eventually(t, "waiting", func() bool { return s.states()["awaiting_app"] == len(waitsUnread) })
	leaveAll()
	eventually(t, "rid of them", func() bool { return len(s.states()) == 0 })
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Skipf("another process has taken the port: %v", err)
	}
	app := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { seen.Add(1) })}
	go func() { _ = app.Serve(l) }()
	defer app.Close()
	s.waitReady()
	if got := seen.Load(); got != 0 {
		t.Errorf("the app saw %d requests of callers that had gone", got)
	}
}

// A caller that stays is served, however long that takes and whatever of the body has come.
func TestHangUp_NotWhoStays(t *testing.T) {
	var seen atomic.Int32
	goOn := make(chan struct{})
	release := sync.OnceFunc(func() { close(goOn) })
	defer release()
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		<-goOn
		_, _ = io.Copy(w, r.Body)
	}, "WADI_CONCURRENCY_LIMIT=1")
	var conns []net.Conn
	for range 3 {
		c, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nab")
		conns = append(conns, c)
	}
	eventually(t, "waiting", func() bool { return s.states()["queued"] == 2 })
	for _, c := range conns {
		io.WriteString(c, "cde")
	}
	release()
	for _, c := range conns {
		if got, err := io.ReadAll(c); err != nil || !strings.HasSuffix(string(got), "\r\nabcde") {
			t.Errorf("%q, %v, want the body back", got, err)
		}
	}
}
