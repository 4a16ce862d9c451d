package queue

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Whoever speaks HTTP/2 is told of a drain by a goodbye that drops nothing.
func TestGoAway_IsSaid(t *testing.T) {
	p := running(t, 0)
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: &protocols}}
	defer client.CloseIdleConnections()
	ask := func() {
		t.Helper()
		res, err := client.Post("http://"+p.Addr(), "", strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		if err != nil || string(got) != "hello" || res.ProtoMajor != 2 {
			t.Errorf("%s %q, %v", res.Proto, got, err)
		}
		res.Body.Close()
	}
	ask()
	ask()
	if got := p.conns.count(); got != 1 {
		t.Fatalf("%d connections, want 1", got)
	}
	p.startDrain()
	soon(t, "told", func() bool {
		p.conns.mu.Lock()
		defer p.conns.mu.Unlock()
		for c := range p.conns.open {
			c.goAway.mu.Lock()
			said := c.goAway.said
			c.goAway.mu.Unlock()
			if !said || !c.http2.Load() {
				return false
			}
		}
		return true
	})
	ask() // Over another connection, or the same if it was too soon.
}

// Frames are counted however they are written.
func TestGoAway_BetweenFrames(t *testing.T) {
	frames := "\x00\x00\x03\x04\x00\x00\x00\x00\x00abc" + "\x00\x00\x00\x04\x01\x00\x00\x00\x00" + "\x00\x00\x01\x00\x00\x00\x00\x00\x01x"
	ends := map[int]bool{12: true, 21: true, 31: true}
	for step := 1; step <= len(frames); step++ {
		g := &goAway{now: true}
		for at := 0; at < len(frames); at += step {
			to := min(at+step, len(frames))
			g.sent([]byte(frames[at:to]))
			if due := g.due(time.Now(), false); due != ends[to] {
				t.Errorf("in steps of %d, after %d bytes: due %v, want %v", step, to, due, ends[to])
			}
		}
	}
}
