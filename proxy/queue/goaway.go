package queue

import (
	"sync"
	"time"
)

// goAway tells an HTTP/2 caller to open no more streams on a connection while all
// that it has opened are served. The server's own goodbye is final: what the caller
// has sent before it hears of it is dropped, and many don't send it again. RFC 9113,
// section 6.8, has two for that reason, of which this is the first.
//
// Go's client gives up even what this one covers: a request that has chosen the
// connection, and no stream yet when it hears, goes to another one, unless it has a body
// that can't be read twice, which it closes unread. So this is said where a caller is
// least likely to begin a request: just before an answer goes out that it waits for, or
// when it has been silent for a while. And a connection that comes while the instance
// drains is not told at once: else each would be good for next to nothing.
//
// It goes between two frames of the server, whose lengths it counts.
type goAway struct {
	mu     sync.Mutex
	from   time.Time // When it may be said before an answer; zero: it is not wanted.
	now    bool      // It is to be said as soon as possible.
	said   bool
	begun  bool    // A frame was sent.
	header [9]byte // Of the frame that is being sent, as far as it is known.
	have   int
	left   int // Bytes of its payload.
}

// firstGoodbye is a GOAWAY without an error that names the last possible stream.
const firstGoodbye = "\x00\x00\x08\x07\x00\x00\x00\x00\x00\x7f\xff\xff\xff\x00\x00\x00\x00"

// sent notes that the server has sent b.
func (g *goAway) sent(b []byte) {
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
			g.have, g.begun = 0, true
			g.left = int(g.header[0])<<16 | int(g.header[1])<<8 | int(g.header[2])
		}
	}
}

// due reports whether it is to be said now, to a caller who waits for what is sent next
// or not.
func (g *goAway) due(now time.Time, waits bool) bool {
	return !g.said && g.begun && g.left == 0 && g.have == 0 && (g.now || waits && !g.from.IsZero() && !now.Before(g.from))
}

// answers reports whether b, which begins with a frame, has some of an answer: frames of
// DATA or HEADERS.
func answers(b []byte) bool {
	for len(b) >= len(goAway{}.header) {
		if b[3] <= 1 {
			return true
		}
		next := len(goAway{}.header) + int(b[0])<<16 + int(b[1])<<8 + int(b[2])
		b = b[min(next, len(b)):]
	}
	return false
}

// Write writes, and says goodbye where it may.
func (c *conn) Write(b []byte) (int, error) {
	if !c.http2.Load() {
		return c.Conn.Write(b)
	}
	c.goAway.mu.Lock()
	defer c.goAway.mu.Unlock()
	c.goodbye(b)
	n, err := c.Conn.Write(b)
	c.goAway.sent(b[:n])
	c.goodbye(nil)
	return n, err
}

// goodbye says it if it is due, before b is sent. The caller holds the mutex.
func (c *conn) goodbye(b []byte) {
	if g := &c.goAway; (g.now || !g.from.IsZero()) && g.due(time.Now(), answers(b)) {
		g.said = true
		_, _ = c.Conn.Write([]byte(firstGoodbye)) // If it fails the connection has ended.
	}
}

// sayGoAway has it said before the next answer, or with now between the next two frames.
func (c *conn) sayGoAway(now bool) {
	if c.known.Load() && !c.http2.Load() {
		return
	}
	c.goAway.mu.Lock()
	defer c.goAway.mu.Unlock()
	if c.goAway.from.IsZero() {
		c.goAway.from = time.Now()
	}
	c.goAway.now = c.goAway.now || now
	c.goodbye(nil)
}
