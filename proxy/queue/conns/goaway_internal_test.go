package conns

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// An HTTP/2 caller gets a GOAWAY at the begin of a drain, and loses no request by it.
func TestGoAway_LosesNothing(t *testing.T) {
	s := serve(t, 0)
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: &protocols}}
	defer client.CloseIdleConnections()
	ask := func() {
		t.Helper()
		res, err := client.Post("http://"+s.l.Addr().String(), "", strings.NewReader("hello"))
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
	if got := s.l.Len(); got != 1 {
		t.Fatalf("%d connections, want 1", got)
	}
	s.l.GoAway(time.Millisecond)
	eventually(t, "sent", func() bool {
		s.l.mu.Lock()
		defer s.l.mu.Unlock()
		for c := range s.l.open {
			c.goAway.mu.Lock()
			sent := c.goAway.sent
			c.goAway.mu.Unlock()
			if !sent || !c.http2.Load() {
				return false
			}
		}
		return true
	})
	ask() // Over another connection, or the same if the GOAWAY is still on its way.
}

// Frames are counted however they are written.
func TestGoAway_BetweenFrames(t *testing.T) {
	frames := "\x00\x00\x03\x04\x00\x00\x00\x00\x00abc" + "\x00\x00\x00\x04\x01\x00\x00\x00\x00" + "\x00\x00\x01\x00\x00\x00\x00\x00\x01x"
	ends := map[int]bool{12: true, 21: true, 31: true}
	for step := 1; step <= len(frames); step++ {
		g := &goAway{urgent: true}
		for at := 0; at < len(frames); at += step {
			to := min(at+step, len(frames))
			g.track([]byte(frames[at:to]))
			if due := g.due(time.Now(), false); due != ends[to] {
				t.Errorf("in steps of %d, after %d bytes: due %v, want %v", step, to, due, ends[to])
			}
		}
	}
}

// A method that begins as HTTP/2's first line does belongs to HTTP/1, in whatever pieces
// it comes: no answer may hold a GOAWAY.
func TestGoAway_NotInHTTP1(t *testing.T) {
	for _, method := range []string{"P", "PR", "PRI", "PRINT", "PRIPRI", "PUT"} {
		for _, together := range []bool{true, false} {
			s := serve(t, 0)
			c := dial(t, s)
			head := method + " /* HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
			if together {
				io.WriteString(c, head+"1234")
			} else {
				for i := range head {
					io.WriteString(c, head[i:i+1])
					time.Sleep(time.Millisecond) // So that most bytes are read alone.
				}
				io.WriteString(c, "1234")
			}
			eventually(t, "in the handler", func() bool { return s.active.Load() == 1 })
			s.l.GoAway(time.Millisecond)
			eventually(t, "sent", func() bool {
				s.l.mu.Lock()
				defer s.l.mu.Unlock()
				for c := range s.l.open {
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

// The protocol is known by the whole first line, in whatever pieces that comes.
func TestConn_DetectsTheProtocol(t *testing.T) {
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
		c := &conn{listener: &Listener{}}
		for _, piece := range tt.pieces {
			if !c.known.Load() {
				c.detect([]byte(piece))
			}
		}
		if c.known.Load() != tt.known || c.http2.Load() != tt.http2 {
			t.Errorf("%q: known %v, HTTP/2 %v", tt.pieces, c.known.Load(), c.http2.Load())
		}
	}
}
