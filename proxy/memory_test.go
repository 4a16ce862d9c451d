package proxy_test

import (
	"context"
	"net"
	"net/http"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/proxytest"
)

// serveMemory starts a server like the one of serve, for a bubble: where time is
// faked, nothing but the code under test takes any.
func serveMemory(t *testing.T, h http.HandlerFunc) *proxytest.Listener {
	t.Helper()
	l := proxytest.Listen()
	srv := &http.Server{Handler: h, Protocols: protocols(true, true), ErrorLog: noPanicsLog(t)}
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

// memoryClient speaks p to l, whatever the URL's host.
func memoryClient(t *testing.T, p wadi.Protocol, l *proxytest.Listener) *http.Client {
	tr := &http.Transport{
		Protocols:   protocols(p == wadi.HTTP1, p != wadi.HTTP1),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return l.Dial(ctx) },
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}
