package proxytest

import (
	"context"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Serve starts a server that speaks HTTP/1.1 and HTTP/2 without TLS, until the test ends.
// A panic that the server logs fails the test.
func Serve(t *testing.T, h http.HandlerFunc) (addr string) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = Protocols(true, true)
	s.Config.ErrorLog = NoPanicsLog(t)
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// ServeMemory starts a server like that of [Serve] whose connections are pipes in memory,
// for a bubble: where time is faked, only the code under test takes any.
func ServeMemory(t *testing.T, h http.HandlerFunc) *Listener {
	t.Helper()
	l := Listen()
	srv := &http.Server{Handler: h, Protocols: Protocols(true, true), ErrorLog: NoPanicsLog(t)}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(l)
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		<-served
	})
	return l
}

// noPanics fails the test when the server logs a panic.
type noPanics struct{ t *testing.T }

// NoPanicsLog is a server's error log that fails the test when a panic is logged.
func NoPanicsLog(t *testing.T) *log.Logger { return log.New(noPanics{t}, "", 0) }

func (n noPanics) Write(b []byte) (int, error) {
	if strings.Contains(string(b), "panic") {
		n.t.Errorf("server: %s", b)
	}
	return len(b), nil
}

// Protocols are those of a server or a transport without TLS.
func Protocols(http1, http2 bool) *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(http1)
	p.SetUnencryptedHTTP2(http2)
	return &p
}

// Dialer dials addr without a timeout of its own: a machine may be busy for a second.
func Dialer(addr string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", addr) }
}

// Client speaks HTTP/1.1, or HTTP/2 with prior knowledge.
func Client(t *testing.T, http2 bool) *http.Client {
	tr := &http.Transport{Protocols: Protocols(!http2, http2), DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// MemoryClient is like [Client], and connects to l whatever the URL's host is.
func MemoryClient(t *testing.T, http2 bool, l *Listener) *http.Client {
	tr := &http.Transport{
		Protocols:   Protocols(!http2, http2),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return l.Dial(ctx) },
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}
