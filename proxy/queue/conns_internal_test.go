package queue

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/proxy/framing"
	"github.com/wadi-run/wadi/proxy/parking"
)

// running is a queue-proxy that runs in front of an app that costs nothing, and
// takes at most max connections.
func running(t *testing.T, max int) *Proxy {
	t.Helper()
	app, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })}
	go func() { _ = srv.Serve(app) }()
	cfg, errs := ParseEnv([]string{"WADI_SERVICE=hello", "WADI_REVISION=hello-00001", "WADI_LISTEN=127.0.0.1:0",
		"WADI_ADMIN=127.0.0.1:0", "WADI_METRICS=127.0.0.1:0", "WADI_TARGET=" + app.Addr().String()})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	cfg.Settle = time.Millisecond
	p, err := New(t.Context(), cfg, hclog.NewNullLogger(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if max > 0 {
		p.conns.max = max
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = srv.Close()
	})
	return p
}

// caller is a connection to p.
type caller struct {
	t *testing.T
	net.Conn
	answers *bufio.Reader
}

func call(t *testing.T, p *Proxy) *caller {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	return &caller{t, conn, bufio.NewReader(conn)}
}

// ask sends a body and wants it back.
func (c *caller) ask(body string) {
	c.t.Helper()
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	c.answer(body)
}

func (c *caller) answer(want string) {
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

func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not %s after a minute", what)
		}
	}
}

// A connection that is parked serves on, and one that has begun a request is not.
func TestConns_Parked(t *testing.T) {
	p := running(t, 0)
	for range parking.Beyond {
		call(t, p)
	}
	idle, begun := call(t, p), call(t, p)
	idle.ask("one")
	begun.ask("one")
	for round := range 3 {
		idle.ask("again")
		begun.ask("again")
		io.WriteString(begun, "P") // Of the next request.
		soon(t, "parked", func() bool { return p.conns.parkedNow() == 1 })
		idle.ask(fmt.Sprint("after parking ", round))
		io.WriteString(begun, "OST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nlate")
		begun.answer("late")
	}
	_ = idle.Close()
	_ = begun.Close()
	soon(t, "rid of those that have gone", func() bool { return p.conns.count() == parking.Beyond })
}

// Where no more connections may be open an idle one goes, but none in use.
func TestConns_Bounded(t *testing.T) {
	p := running(t, 2)
	busy, idle := call(t, p), call(t, p)
	io.WriteString(busy, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nlo")
	idle.ask("idle")
	call(t, p).ask("third")
	if _, err := idle.answers.ReadByte(); err == nil {
		t.Error("the idle one is still open")
	}
	io.WriteString(busy, "ng")
	busy.answer("long")
}

// A connection without a request yet is as good as an idle one: callers keep such.
func TestConns_FirstRequestMayTakeItsTime(t *testing.T) {
	var deadline atomic.Int64
	below := deadlines{set: func(at time.Time) { deadline.Store(int64(time.Until(at))) }}
	c := &conn{Conn: framing.New(checks(nil)).Conn(below, nil), of: &conns{}}
	left := func() time.Duration { return time.Duration(deadline.Load()) }
	_ = c.SetReadDeadline(time.Now().Add(readHeaderTimeout))
	if left() <= idleTimeout/2 {
		t.Errorf("closed after %v without a request, want %v", left(), idleTimeout)
	}
	_, _ = c.Read(make([]byte, 10))
	if left() > readHeaderTimeout {
		t.Errorf("a header that has begun may take %v, want %v", left(), readHeaderTimeout)
	}
	_ = c.SetReadDeadline(time.Now().Add(readHeaderTimeout))
	if left() > readHeaderTimeout {
		t.Errorf("later %v, want %v", left(), readHeaderTimeout)
	}
}

// deadlines is a connection that has sent one byte.
type deadlines struct {
	net.Conn
	set func(time.Time)
}

func (d deadlines) SetReadDeadline(at time.Time) error { d.set(at); return nil }
func (deadlines) Read(b []byte) (int, error)           { return copy(b, "G"), nil }

// parkedNow is how many are.
func (l *conns) parkedNow() int {
	return l.parked.Len()
}

// Nor do those lock anybody out who have begun a request and don't go on.
func TestConns_BoundedAndBegun(t *testing.T) {
	p := running(t, 2)
	first, later := call(t, p), call(t, p)
	io.WriteString(first, "GET")
	later.ask("one")
	io.WriteString(later, "G")
	began := time.Now()
	call(t, p).ask("third")
	call(t, p).ask("fourth")
	if took := time.Since(began); took > readHeaderTimeout {
		t.Errorf("served after %v, when their time was over", took)
	}
	open := 0
	for _, c := range []*caller{first, later} {
		_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := c.answers.ReadByte(); errors.Is(err, os.ErrDeadlineExceeded) {
			open++
		}
	}
	if open == 2 {
		t.Error("both are still open")
	}
}

// Of those that speak HTTP/2 there are fewer: one that is idle goes, and no more come
// where none is.
func TestConns_HTTP2Bounded(t *testing.T) {
	p := running(t, 0)
	p.conns.mu.Lock()
	p.conns.http2 = 2
	p.conns.mu.Unlock()
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	ask := func() error {
		tr := &http.Transport{Protocols: &protocols}
		t.Cleanup(tr.CloseIdleConnections)
		res, err := (&http.Client{Transport: tr}).Get("http://" + p.Addr())
		if err == nil {
			_ = res.Body.Close()
		}
		return err
	}
	for range 2 {
		if err := ask(); err != nil {
			t.Fatal(err)
		}
	}
	soon(t, "served in the place of an idle one", func() bool { return ask() == nil })
	call(t, p).ask("HTTP/1 goes on")
	p.conns.mu.Lock()
	defer p.conns.mu.Unlock()
	if p.conns.http2s > 2 {
		t.Errorf("%d connections, want at most 2", p.conns.http2s)
	}
}

// The bounds follow the task's memory, and are never none.
func TestBoundsForMemory(t *testing.T) {
	for mib, want := range map[int][2]int{0: {1000, 375}, 1: {64, 64}, 32: {256, 102}, 64: {938, 375}, 128: {2304, 921}, 100_000: {10_000, 4096}} {
		if got := [2]int{maxInFlightFor(mib), maxHTTP2For(mib)}; got != want {
			t.Errorf("%d MiB: %v, want %v", mib, got, want)
		}
	}
}
