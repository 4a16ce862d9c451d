package queue

import "sync"

// goAway tells an HTTP/2 caller to open no more streams on a connection while all
// that it has opened are served. The server's own goodbye is final: what the caller
// has sent before it hears of it is dropped, and many don't send it again. RFC 9113,
// section 6.8, has two for that reason, of which this is the first.
//
// It goes between two frames of the server, whose lengths it counts.
type goAway struct {
	mu     sync.Mutex
	wanted bool
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

// due reports whether it is to be said now.
func (g *goAway) due() bool {
	return g.wanted && !g.said && g.begun && g.left == 0 && g.have == 0
}

// Write writes, and says goodbye as soon as it may.
func (c *conn) Write(b []byte) (int, error) {
	if !c.http2.Load() {
		return c.Conn.Write(b)
	}
	c.goAway.mu.Lock()
	defer c.goAway.mu.Unlock()
	n, err := c.Conn.Write(b)
	c.goAway.sent(b[:n])
	c.goodbye()
	return n, err
}

// goodbye says it if it is due. The caller holds the mutex.
func (c *conn) goodbye() {
	if c.goAway.due() {
		c.goAway.said = true
		_, _ = c.Conn.Write([]byte(firstGoodbye)) // If it fails the connection has ended.
	}
}

// sayGoAway has it said, now or between the next two frames.
func (c *conn) sayGoAway() {
	if c.heard.Load() && !c.http2.Load() {
		return
	}
	c.goAway.mu.Lock()
	defer c.goAway.mu.Unlock()
	c.goAway.wanted = true
	c.goodbye()
}
