package queue_test

import (
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wadi-run/wadi/proxy/proxytest"
)

func askHTTP2(t *testing.T, addr string, header proxytest.Fields, body string, trailers proxytest.Fields) proxytest.HTTP2Answer {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	a, err := proxytest.AskHTTP2(c, header, body, trailers)
	if err != nil {
		t.Logf("%v: %v", header, err)
	}
	return a
}

// Requests over HTTP/2 that HTTP/1 can't express, or that are ambiguous there, are refused
// and counted; the app does not see them.
func TestTraffic_MalformedHTTP2(t *testing.T) {
	var calls atomic.Int32
	s := start(t, func(http.ResponseWriter, *http.Request) { calls.Add(1) })
	answered := 0
	for name, header := range proxytest.HTTP2Attacks() {
		a := askHTTP2(t, s.Addr(), header, "", nil)
		if !a.Reset && a.Header[":status"] != "400" {
			t.Errorf("%s: answered %v", name, a)
		}
		if !a.Reset && strings.HasPrefix(a.Body, "queue-proxy: ") {
			answered++
		}
	}
	if n := calls.Load(); n > 0 {
		t.Errorf("the app saw %d of them", n)
	}
	if answered == 0 || s.metric(`wadi_queue_refusals_total{reason="malformed"}`) == "0" {
		t.Errorf("%d were answered by the queue-proxy, %s counted", answered, s.metric(`wadi_queue_refusals_total{reason="malformed"}`))
	}
	a := askHTTP2(t, s.Addr(), proxytest.Fields{":method", "GET", ":scheme", "http", ":authority", "h", ":path", "/x", "host", "h"}, "", nil)
	if a.Header[":status"] != "200" || calls.Load() != 1 {
		t.Errorf("a good one was answered %v", a)
	}
	a = askHTTP2(t, s.Addr(), proxytest.Fields{":method", "POST", ":scheme", "http", ":authority", "h", ":path", "/x#y", "content-type", "application/grpc"}, "", nil)
	if a.Header[":status"] != "200" || a.Header["grpc-status"] != "13" {
		t.Errorf("a gRPC call was answered %v", a)
	}
}
