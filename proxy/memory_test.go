package proxy_test

import (
	"context"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"

	"github.com/wadi-run/wadi"
)

// memory is a listener whose connections are pipes: in a bubble, where time is
// faked, nothing but the code under test takes any.
type memory struct {
	conns chan net.Conn
	done  chan struct{}
	close func()
}

// serveMemory starts a server like the one of serve, for a bubble.
func serveMemory(t *testing.T, h http.HandlerFunc) *memory {
	t.Helper()
	m := &memory{conns: make(chan net.Conn), done: make(chan struct{})}
	m.close = sync.OnceFunc(func() { close(m.done) })
	srv := &http.Server{Handler: h, Protocols: protocols(true, true), ErrorLog: noPanicsLog(t)}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(m)
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		<-served
	})
	return m
}

// dial connects to the listener.
func (m *memory) dial(ctx context.Context) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case m.conns <- there:
		return here, nil
	case <-m.done:
		return nil, syscall.ECONNREFUSED
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// client speaks p to the listener.
func (m *memory) client(t *testing.T, p wadi.Protocol) *http.Client {
	tr := &http.Transport{
		Protocols:   protocols(p == wadi.HTTP1, p != wadi.HTTP1),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return m.dial(ctx) },
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error {
	m.close()
	return nil
}

func (m *memory) Addr() net.Addr { return &net.TCPAddr{} }
