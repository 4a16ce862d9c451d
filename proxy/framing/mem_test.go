package framing_test

import (
	"bytes"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/wadi-run/wadi/proxy/framing"
	"github.com/wadi-run/wadi/proxy/proxytest"
)

// memConn is a caller that has sent all it has to say and closed its half. It gives
// that in pieces.
type memConn struct {
	in    []byte
	piece func() int // The bound of the next Read.

	mu   sync.Mutex
	out  bytes.Buffer
	gone chan struct{}
	once sync.Once
}

func newMemConn(in []byte, piece func() int) *memConn {
	return &memConn{in: in, piece: piece, gone: make(chan struct{})}
}

func (c *memConn) Read(p []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.piece())], c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *memConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.Write(p)
}

func (c *memConn) written() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.String()
}

func (c *memConn) Close() error {
	c.once.Do(func() { close(c.gone) })
	return nil
}

func (c *memConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *memConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *memConn) SetDeadline(time.Time) error      { return nil }
func (c *memConn) SetReadDeadline(time.Time) error  { return nil }
func (c *memConn) SetWriteDeadline(time.Time) error { return nil }

// oneListener accepts one connection.
type oneListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *oneListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *oneListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *oneListener) Addr() net.Addr { return &net.TCPAddr{} }

// request is a request as a reader saw it.
type request = proxytest.Request

// seen is what a net/http server made of a connection.
type seen struct {
	requests []request
	answer   string
	refused  []framing.Reason
}

// serveMem lets a net/http server read in through the check.
func serveMem(t testing.TB, in []byte, piece func() int, cfg framing.Config, h http.Handler) seen {
	t.Helper()
	var got seen
	var mu sync.Mutex
	cfg.Refused = func(r framing.Reason) {
		mu.Lock()
		defer mu.Unlock()
		got.refused = append(got.refused, r)
	}
	below := newMemConn(in, piece)
	l := &oneListener{conns: make(chan net.Conn, 1), done: make(chan struct{})}
	l.conns <- framing.New(cfg).Conn(below)
	s := &http.Server{
		ErrorLog: log.New(io.Discard, "", 0), MaxHeaderBytes: 64 << 10, DisableGeneralOptionsHandler: true,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			mu.Lock()
			got.requests = append(got.requests, request{Method: r.Method, Target: r.RequestURI, Body: string(b), Whole: err == nil})
			mu.Unlock()
			if h != nil {
				h.ServeHTTP(w, r)
			}
		}),
	}
	s.Protocols = new(http.Protocols)
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(cfg.HTTP2)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.Serve(l)
	}()
	<-below.gone
	_ = s.Close()
	<-served
	mu.Lock()
	defer mu.Unlock()
	got.answer = below.written()
	return got
}
