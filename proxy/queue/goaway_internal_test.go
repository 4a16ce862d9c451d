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

// A method that begins as HTTP/2's first line does is one of HTTP/1, however it comes:
// nothing of a goodbye may stand in an answer.
func TestGoAway_NotInHTTP1(t *testing.T) {
	for _, method := range []string{"P", "PR", "PRI", "PRINT", "PRIPRI", "PUT"} {
		for _, together := range []bool{true, false} {
			p := running(t, 0)
			c := call(t, p)
			head := method + " /* HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
			if together {
				io.WriteString(c, head+"1234")
			} else {
				for i := range head {
					io.WriteString(c, head[i:i+1])
					time.Sleep(time.Millisecond) // Mostly they are read one by one.
				}
				io.WriteString(c, "1234")
			}
			soon(t, "in the app", func() bool { return p.live.count() == 1 })
			p.startDrain()
			soon(t, "told", func() bool {
				p.conns.mu.Lock()
				defer p.conns.mu.Unlock()
				for c := range p.conns.open {
					if !c.known.Load() || c.http2.Load() {
						return false
					}
				}
				return true
			})
			io.WriteString(c, "56789")
			c.answer("123456789")
		}
	}
}

// What it speaks is known by the whole first line, in whatever pieces that comes.
func TestConn_Speaks(t *testing.T) {
	for _, tt := range []struct {
		pieces       []string
		known, http2 bool
	}{
		{[]string{"PRI * HTTP/2.0\r\n"}, true, true},
		{[]string{"P", "RI * HT", "TP/2.0\r", "\n\r\nSM"}, true, true},
		{[]string{"PRI * HTTP/2.0"}, false, false},
		{[]string{"PRI", "NT / HTTP/1.1\r\n"}, true, false},
		{[]string{"PRI * HTTP/1.1\r\n"}, true, false},
		{[]string{"PR", "X", "I * HTTP/2.0\r\n"}, true, false},
		{[]string{"GET / HTTP/1.1\r\n\r\nPRI * HTTP/2.0\r\n"}, true, false},
	} {
		c := &conn{of: &conns{}}
		for _, piece := range tt.pieces {
			if !c.known.Load() {
				c.listen([]byte(piece))
			}
		}
		if c.known.Load() != tt.known || c.http2.Load() != tt.http2 {
			t.Errorf("%q: known %v, HTTP/2 %v", tt.pieces, c.known.Load(), c.http2.Load())
		}
	}
}
