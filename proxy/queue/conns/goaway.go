package conns

import (
	"sync"
	"time"
)

// goAway asks an HTTP/2 caller to open no more streams on a connection, while open streams
// are served. The server's own GOAWAY is final: it drops what the caller has sent before it
// reads that frame, and many callers don't send it again. For that reason RFC 9113, section
// 6.8, has two frames; this is the first.
//
// Go's client gives up even requests that the first one covers: a request that has chosen
// the connection, and has no stream yet when the GOAWAY arrives, goes to another
// connection, but fails if it has a body that can't be read twice. So the GOAWAY is sent
// when a caller is least likely to begin a request: just before an answer that it waits
// for, or when it has been silent for a while. A connection that is made during the drain
// gets it later: otherwise each such connection would carry next to nothing.
//
// It goes between two frames of the server, whose lengths are counted.
type goAway struct {
	mu        sync.Mutex
	notBefore time.Time // Earliest time before an answer; zero: none is wanted.
	urgent    bool      // To be sent as soon as possible.
	sent      bool
	started   bool    // The server has sent a frame.
	header    [9]byte // Of the frame that is being sent, as far as it is known.
	have      int     // Bytes of header.
	left      int     // Bytes of the frame's payload that are to come.
}

// goAwayFrame is a GOAWAY without an error that names the last possible stream.
const goAwayFrame = "\x00\x00\x08\x07\x00\x00\x00\x00\x00\x7f\xff\xff\xff\x00\x00\x00\x00"

// track notes that the server has sent b.
func (g *goAway) track(b []byte) {
	for len(b) > 0 {
		if g.left > 0 {
			n := min(g.left, len(b))
			g.left -= n
			b = b[n:]
			continue
		}
		n := copy(g.header[g.have:], b)
		b = b[n:]
		if g.have += n; g.have == len(g.header) {
			g.have, g.started = 0, true
			g.left = int(g.header[0])<<16 | int(g.header[1])<<8 | int(g.header[2])
		}
	}
}

// due reports whether the frame may be sent now. answer says whether an answer is next.
func (g *goAway) due(now time.Time, answer bool) bool {
	return !g.sent && g.started && g.left == 0 && g.have == 0 && (g.urgent || answer && !g.notBefore.IsZero() && !now.Before(g.notBefore))
}

// isAnswer reports whether b, which begins with a frame, has some of an answer: frames of
// DATA or HEADERS.
func isAnswer(b []byte) bool {
	for len(b) >= len(goAway{}.header) {
		if b[3] <= 1 {
			return true
		}
		next := len(goAway{}.header) + int(b[0])<<16 + int(b[1])<<8 + int(b[2])
		b = b[min(next, len(b)):]
	}
	return false
}

// Write writes, with a GOAWAY before or after b where one is due.
func (c *conn) Write(b []byte) (int, error) {
	if !c.http2.Load() {
		return c.Conn.Write(b)
	}
	c.goAway.mu.Lock()
	defer c.goAway.mu.Unlock()
	c.sendGoAway(b)
	n, err := c.Conn.Write(b)
	c.goAway.track(b[:n])
	c.sendGoAway(nil)
	return n, err
}

// sendGoAway sends the frame if it is due, before b is sent. The caller holds the mutex.
func (c *conn) sendGoAway(b []byte) {
	if g := &c.goAway; (g.urgent || !g.notBefore.IsZero()) && g.due(time.Now(), isAnswer(b)) {
		g.sent = true
		_, _ = c.Conn.Write([]byte(goAwayFrame)) // If it fails the connection has ended.
	}
}

// requestGoAway has a GOAWAY sent before the next answer, or with now between the next
// two frames.
func (c *conn) requestGoAway(now bool) {
	if c.known.Load() && !c.http2.Load() {
		return
	}
	c.goAway.mu.Lock()
	defer c.goAway.mu.Unlock()
	if c.goAway.notBefore.IsZero() {
		c.goAway.notBefore = time.Now()
	}
	c.goAway.urgent = c.goAway.urgent || now
	c.sendGoAway(nil)
}
