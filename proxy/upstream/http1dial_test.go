package upstream_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/wadi-run/wadi/proxy/proxytest"
	"github.com/wadi-run/wadi/proxy/upstream"
)

// A peer that accepts no connection is given up after a time, and the error says so.
func TestHTTP1_NothingAccepted(t *testing.T) {
	l, err := proxytest.ShortQueue(0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	fill, err := net.Dial("tcp", l.Addr().String()) // The queue has one more than it says.
	if err != nil {
		t.Fatal(err)
	}
	defer fill.Close()
	u := upstream.New(upstream.Config{Addr: l.Addr().String(), DialTimeout: 200 * time.Millisecond})
	defer u.Close()
	_, failed := do(u, http.MethodGet, nil)
	if failed == nil || !failed.Refused || failed.Reason("it") != "it did not accept a connection in time: its listen queue is full" {
		t.Errorf("got %+v", failed)
	}
}

// A peer that serves one caller after another is not given up while it does: its queue
// may be longer than the time of a dial.
func TestHTTP1_SlowlyAccepted(t *testing.T) {
	l, err := proxytest.ShortQueue(5)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	defer all.Wait()
	defer l.Close()
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := head(bufio.NewReader(c)); err == nil {
				time.Sleep(150 * time.Millisecond) // It works.
				_, _ = io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\nok")
			}
			_ = c.Close()
		}
	})
	u := upstream.New(upstream.Config{Addr: l.Addr().String(), DialTimeout: time.Second})
	defer u.Close()
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			if w, err := do(u, http.MethodPost, nil); err != nil || w.Body.String() != "ok" {
				t.Errorf("got %q, %v", w.Body, err)
			}
		})
	}
	callers.Wait()
}
