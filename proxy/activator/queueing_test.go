package activator_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/activator"
)

func TestThousandWaitersOneWake(t *testing.T) {
	g := newRig(t, settings())
	b := newBackend(t, "alloc-1")
	all := make(chan struct{})
	g.set(func(c *cluster) { c.onWake = func(string) { <-all; c.place(b.ep) } })
	done := make(chan []answer)
	go func() { done <- g.many(t, 1000) }()
	g.waiting(t, 1000)
	close(all)
	for _, got := range <-done {
		if got.status != 200 || got.body != "alloc-1" {
			t.Fatalf("got %v", got)
		}
	}
	if n := g.woken(revision); n != 1 {
		t.Errorf("%d wakes, want 1", n)
	}
	if requests, _, _ := b.counts(); requests != 1000 {
		t.Errorf("%d requests arrived, want 1000", requests)
	}
	g.waiting(t, 0)
}

func TestRefusal_JSON(t *testing.T) {
	set := settings()
	set.Failed = `no "image"`
	g := newRig(t, set)
	for accept, want := range map[string]bool{"application/json": true, "text/html, application/json;q=0.9": false, "*/*": false, "": false, "text/plain;q=0.1, application/json": true, "application/json;q=0": false} {
		r := g.request(t, http.MethodGet, "/", nil)
		r.Header.Set("Accept", accept)
		got := g.do(r)
		var v struct{ Error string }
		err := json.Unmarshal([]byte(got.body), &v)
		if (err == nil) != want || want && !strings.Contains(v.Error, wadi.ReasonID(revision, set.Failed)) {
			t.Errorf("Accept %q: got %v", accept, got)
		}
	}
}

func TestQueueFull(t *testing.T) {
	set := settings()
	set.Queue.Depth = 3
	g := newRig(t, set)
	b := newBackend(t, "alloc-1")
	done := make(chan []answer)
	go func() { done <- g.many(t, 3) }()
	g.waiting(t, 3)
	wantRefusal(t, g.get(t), 503, "queue_full", "wait for hello-00001")
	g.place(b.ep)
	for _, got := range <-done {
		if got.status != 200 {
			t.Errorf("got %v", got)
		}
	}
}

func TestAgentIsFull(t *testing.T) {
	for name, edit := range map[string]func(*activator.Config){
		"count": func(c *activator.Config) { c.MaxWaiting = 1 },
		"bytes": func(c *activator.Config) { c.MaxWaitingBytes = 30 << 10 },
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, settings(), edit)
			go g.get(t)
			g.waiting(t, 1)
			wantRefusal(t, g.get(t), 503, "queue_full", "in this agent")
		})
	}
}

func TestClientGone_LeavesTheQueue(t *testing.T) {
	set := settings()
	set.Queue.Depth = 1
	g := newRig(t, set)
	for name, head := range map[string]string{
		"without body":     "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"with unread body": "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
		"with half a body": "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe",
	} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", g.srv.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(c, head); err != nil {
				t.Fatal(err)
			}
			g.waiting(t, 1)
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			g.waiting(t, 0)
		})
	}
}

func TestSlowBodyDoesNotHoldUpTheRefusal(t *testing.T) {
	set := settings()
	set.Queue.Timeout = wadi.Duration(50 * time.Millisecond)
	g := newRig(t, set)
	c, err := net.Dial("tcp", g.srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\nhe"); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != 504 {
		t.Fatalf("got %v, %v", res, err)
	}
}
