package queue

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/proxy/parking"
)

// The server of the traffic plane reports the states of its connections to package conns,
// and serves those that were parked: else a drain could not end idle connections, and a
// parked connection would not be answered.
func TestRun_ServesAndEndsConnections(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(app.Close)
	cfg, errs := ParseEnv([]string{"WADI_SERVICE=hello", "WADI_REVISION=hello-00001", "WADI_LISTEN=127.0.0.1:0",
		"WADI_ADMIN=127.0.0.1:0", "WADI_METRICS=127.0.0.1:0", "WADI_TARGET=" + strings.TrimPrefix(app.URL, "http://")})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	cfg.Settle, cfg.Drain = time.Millisecond, 10*time.Second
	p, err := New(t.Context(), cfg, hclog.NewNullLogger(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	dial := func() net.Conn {
		c, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		return c
	}
	ask := func(c net.Conn) {
		t.Helper()
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("got %v, %v, want 200", res, err)
		}
	}
	eventually := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("not %s after a minute", what)
			}
		}
	}
	for range parking.Threshold {
		dial()
	}
	eventually("crowded", func() bool { return p.conns.Len() == parking.Threshold })
	parked := dial()
	eventually("accepted", func() bool { return p.conns.Len() == parking.Threshold+1 })
	time.Sleep(50 * time.Millisecond) // It is parked, as it has sent nothing.
	ask(parked)
	ask(parked)
	// A connection before its first request may have one on its way, as an idle one may.
	eventually("without connections", func() bool { return p.conns.CloseIdle(0) && p.conns.Len() == 0 })
}
