package queue_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// callAndLeave sends a request and closes the connection when some of the answer has come.
func callAndLeave(t *testing.T, addr, path string, wait func()) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n")
	wait()
}

// A caller goes during an answer without an end: the app's next write fails, and the next
// caller is served.
func TestTraffic_EndlessAnswer(t *testing.T) {
	sent, told := make(chan struct{}, 1), make(chan error, 1)
	app := rawApp(t, func(c net.Conn, r *http.Request) bool {
		if r.URL.Path != "/events" {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			return true
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for ; ; <-tick.C {
			if _, err := io.WriteString(c, "data: x\n\n"); err != nil {
				told <- err
				return false
			}
			select {
			case sent <- struct{}{}:
			default:
			}
		}
	})
	s := startUnready(t, app, "WADI_CONCURRENCY_LIMIT=1")
	s.waitReady()
	callAndLeave(t, s.Addr(), "/events", func() { <-sent })
	if got := s.get(s.Addr(), "/"); got.text != "ok" {
		t.Errorf("the next caller got %d %q", got.StatusCode, got.text)
	}
	select {
	case <-told:
	case <-time.After(time.Minute):
		t.Error("the app still sends")
	}
}

// An app that works on in silence after its caller went gets no second request before it
// has ended the first.
func TestTraffic_SilentWork(t *testing.T) {
	var in, most atomic.Int64
	entered, done := make(chan struct{}, 2), make(chan struct{})
	app := func(w http.ResponseWriter, r *http.Request) {
		most.Store(max(most.Load(), in.Add(1)))
		defer in.Add(-1)
		entered <- struct{}{}
		if r.URL.Path == "/work" {
			<-done
		}
		_, _ = io.WriteString(w, "ok")
	}
	s := start(t, app, "WADI_CONCURRENCY_LIMIT=1")
	callAndLeave(t, s.Addr(), "/work", func() { <-entered })
	var next sync.WaitGroup
	next.Go(func() {
		if got := s.get(s.Addr(), "/"); got.text != "ok" {
			t.Errorf("the next caller got %d %q", got.StatusCode, got.text)
		}
	})
	eventually(t, "waiting", func() bool { return s.metric("wadi_queue_waiting_requests") == "1" })
	select {
	case <-entered:
		t.Error("the next request came while the app was at work")
	case <-time.After(1500 * time.Millisecond): // Nothing is to come of it.
	}
	close(done)
	next.Wait()
	if most.Load() != 1 {
		t.Errorf("%d requests at once, want one", most.Load())
	}
}

// A request whose deadline passes while its body waits for 100 Continue is over: the app's
// silence would have the body sent instead.
func TestTraffic_TimeIsOverBeforeLeave(t *testing.T) {
	got := make(chan struct{})
	app := rawApp(t, func(c net.Conn, r *http.Request) bool {
		if r.URL.Path == "/" {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
		return true
	}, func(_ net.Conn, r *http.Request) bool {
		if r.URL.Path == "/silent" {
			close(got)
		}
		return true
	})
	s := startUnready(t, app, "WADI_CONCURRENCY_LIMIT=1", "WADI_TIMEOUT_REQUEST=700ms")
	s.waitReady()
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "POST /silent HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	<-got
	in := bufio.NewReader(c)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != http.StatusGatewayTimeout {
		t.Errorf("got %v, %v, want 504", res, err)
	}
	eventually(t, "free", func() bool { return s.metric("wadi_queue_in_flight_requests") == "0" })
	if got := s.get(s.Addr(), "/"); got.text != "ok" {
		t.Errorf("the next caller got %d %q", got.StatusCode, got.text)
	}
}

// An app refuses a stalled upload: the next caller is served while the first one still has
// time to read the refusal.
func TestTraffic_EarlyRefusalFreesItsPlace(t *testing.T) {
	app := rawApp(t, func(c net.Conn, r *http.Request) bool {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		return true
	}, func(c net.Conn, r *http.Request) bool {
		if r.Method == http.MethodPost {
			_, _ = io.WriteString(c, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
		}
		return r.Method != http.MethodPost
	})
	s := startUnready(t, app, "WADI_CONCURRENCY_LIMIT=1")
	s.waitReady()
	c, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\nbegin")
	in := bufio.NewReader(c)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != http.StatusUnauthorized {
		t.Fatalf("got %v, %v", res, err)
	}
	if _, err := io.ReadAll(res.Body); err != nil {
		t.Fatal(err)
	}
	if got := s.get(s.Addr(), "/"); got.text != "ok" {
		t.Errorf("the next caller got %d %q", got.StatusCode, got.text)
	}
	if dump := s.get(s.AdminAddr(), "/v1/admin/dump").text; !strings.Contains(dump, "POST") {
		t.Errorf("the first caller has no time to stop: %s", dump)
	}
}
