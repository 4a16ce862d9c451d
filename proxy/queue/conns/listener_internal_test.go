package conns

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wadi-run/wadi/proxy/framing"
	"github.com/wadi-run/wadi/proxy/parking"
)

// A parked connection is served on, and one with a request that has begun is not parked.
func TestConns_Parked(t *testing.T) {
	s := serve(t, 0)
	for range parking.Threshold {
		dial(t, s)
	}
	idle, begun := dial(t, s), dial(t, s)
	idle.ask("one")
	begun.ask("one")
	for round := range 3 {
		idle.ask("again")
		begun.ask("again")
		io.WriteString(begun, "P") // The begin of the next request.
		eventually(t, "parked", func() bool { return s.l.lot.Len() == 1 })
		idle.ask(fmt.Sprint("after parking ", round))
		io.WriteString(begun, "OST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nlate")
		begun.answer("late")
	}
	_ = idle.Close()
	_ = begun.Close()
	eventually(t, "without those that were closed", func() bool { return s.l.Len() == parking.Threshold })
}

// At the bound an idle connection is evicted, but none in use.
func TestConns_Bounded(t *testing.T) {
	s := serve(t, 2)
	busy, idle := dial(t, s), dial(t, s)
	io.WriteString(busy, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nlo")
	idle.ask("idle")
	dial(t, s).ask("third")
	if _, err := idle.answers.ReadByte(); err == nil {
		t.Error("the idle connection is still open")
	}
	io.WriteString(busy, "ng")
	busy.answer("long")
}

// A connection before its first request has the time of an idle one: callers keep such connections.
func TestConns_FirstRequestMayTakeItsTime(t *testing.T) {
	var deadline atomic.Int64
	below := deadlines{set: func(at time.Time) { deadline.Store(int64(time.Until(at))) }}
	c := &conn{Conn: framing.New(checks(nil)).Conn(below), listener: &Listener{}}
	left := func() time.Duration { return time.Duration(deadline.Load()) }
	_ = c.SetReadDeadline(time.Now().Add(ReadHeaderTimeout))
	if left() <= IdleTimeout/2 {
		t.Errorf("closed after %v without a request, want %v", left(), IdleTimeout)
	}
	_, _ = c.Read(make([]byte, 10))
	if left() > ReadHeaderTimeout {
		t.Errorf("a header that has begun may take %v, want %v", left(), ReadHeaderTimeout)
	}
	_ = c.SetReadDeadline(time.Now().Add(ReadHeaderTimeout))
	if left() > ReadHeaderTimeout {
		t.Errorf("later %v, want %v", left(), ReadHeaderTimeout)
	}
}

// deadlines is a connection that has sent one byte.
type deadlines struct {
	net.Conn
	set func(time.Time)
}

func (d deadlines) SetReadDeadline(at time.Time) error { d.set(at); return nil }
func (deadlines) Read(b []byte) (int, error)           { return copy(b, "G"), nil }

// Connections whose headers are slow to come do not lock out others.
func TestConns_BoundedAndBegun(t *testing.T) {
	s := serve(t, 2)
	first, later := dial(t, s), dial(t, s)
	io.WriteString(first, "GET")
	later.ask("one")
	io.WriteString(later, "G")
	began := time.Now()
	dial(t, s).ask("third")
	dial(t, s).ask("fourth")
	if took := time.Since(began); took > ReadHeaderTimeout {
		t.Errorf("served after %v, when their time was over", took)
	}
	open := 0
	for _, c := range []*client{first, later} {
		_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := c.answers.ReadByte(); errors.Is(err, os.ErrDeadlineExceeded) {
			open++
		}
	}
	if open == 2 {
		t.Error("both are still open")
	}
}

// HTTP/2 has a lower bound: an idle connection is evicted, and a new one refused where
// there is none.
func TestConns_HTTP2Bounded(t *testing.T) {
	s := serve(t, 0)
	s.l.mu.Lock()
	s.l.maxHTTP2 = 2
	s.l.mu.Unlock()
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	ask := func() error {
		tr := &http.Transport{Protocols: &protocols}
		t.Cleanup(tr.CloseIdleConnections)
		res, err := (&http.Client{Transport: tr}).Get("http://" + s.l.Addr().String())
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
	eventually(t, "served instead of an idle connection", func() bool { return ask() == nil })
	dial(t, s).ask("HTTP/1 goes on")
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	if s.l.http2s > 2 {
		t.Errorf("%d connections, want at most 2", s.l.http2s)
	}
}
