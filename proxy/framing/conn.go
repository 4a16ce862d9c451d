package framing

import (
	"bytes"
	"net"
	"strings"
	"sync/atomic"
	"time"
)

// Conn is a connection whose requests are checked as they are read. It has one reader at
// a time; writing and closing may go on at the same time.
type Conn struct {
	net.Conn
	checker *Checker
	closed  atomic.Bool

	begun  atomic.Bool // A byte has come.
	inHead atomic.Bool // Some of a header has come, but not all.

	requests checker
	pending  []byte // Bytes after a request that asks for another protocol.
	early    byte   // The byte before those, which the server has read already.
	hasEarly bool
	poison   string // The rest of what the server gets in place of a request.
	refused  atomic.Uint32
}

func (c *Conn) init(k *Checker, below net.Conn) {
	c.Conn, c.checker = below, k
	c.requests.http2, c.requests.lines = k.cfg.HTTP2, &k.lines
}

// Read reads bytes that may pass.
func (c *Conn) Read(p []byte) (int, error) {
	switch {
	case c.requests.state == unchecked && len(c.pending) == 0:
		return c.Conn.Read(p)
	case c.Refused() != None:
		return c.readPoison(p)
	case c.requests.state == paused:
		return c.readPaused(p)
	case c.requests.state == inPreface:
		return c.readPreface(p)
	}
	n, err := c.receive(p)
	if n == 0 {
		return 0, err
	}
	m, why := c.requests.check(p[:n])
	c.follow()
	if why != None {
		return c.refuse(p, m, why)
	}
	if m < n { // What follows may be another protocol.
		c.pending = append(bytes.Clone(p[m:n]), c.pending...)
	}
	return m, err
}

// SetReadDeadline sets t, or an earlier end of the time that a header has from its first
// byte on: the server lets a connection be idle until it has four bytes.
func (c *Conn) SetReadDeadline(t time.Time) error {
	cfg := &c.checker.cfg
	if cfg.Silence == 0 || t.IsZero() || time.Until(t) <= 0 {
		return c.Conn.SetReadDeadline(t)
	}
	if c.inHead.Load() {
		if end := time.Now().Add(cfg.Header); t.After(end) {
			t = end
		}
	} else if !c.begun.Load() {
		t = time.Now().Add(cfg.Silence)
	}
	return c.Conn.SetReadDeadline(t)
}

// follow updates the state of the header after a read, and its deadline.
func (c *Conn) follow() {
	if !c.begun.Load() {
		c.begun.Store(true)
	}
	now := c.requests.midHead()
	if now == c.inHead.Load() {
		return
	}
	if c.inHead.Store(now); now && c.checker.cfg.Header > 0 {
		_ = c.Conn.SetReadDeadline(time.Now().Add(c.checker.cfg.Header)) // It fails on closed ones.
	}
}

// receive reads pending bytes first, then from the connection.
func (c *Conn) receive(p []byte) (int, error) {
	if len(c.pending) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.pending)
	if c.pending = c.pending[n:]; len(c.pending) == 0 {
		c.pending = nil
	}
	return n, nil
}

// readPaused reads after a request that asks for another protocol, before
// [Conn.Upgraded]. Until the answer is known the server watches the connection by reading
// one byte, which passes unchecked: one byte makes no request. If the server reads on, it
// reads requests.
func (c *Conn) readPaused(p []byte) (int, error) {
	if len(p) == 1 && !c.hasEarly {
		n, err := c.receive(p)
		if n == 1 {
			c.early, c.hasEarly = p[0], true
		}
		return n, err
	}
	c.requests.state = inRequestLine
	if c.hasEarly {
		c.hasEarly = false
		_, why := c.requests.check([]byte{c.early})
		c.follow()
		if why != None {
			return c.refuse(p, 0, why)
		}
	}
	return c.Read(p)
}

// readPreface reads the rest of HTTP/2's preface. It passes only as a whole: its first
// line with the empty line is a request for net/http.
func (c *Conn) readPreface(p []byte) (int, error) {
	for len(c.pending) < len(prefaceRest) && strings.HasPrefix(prefaceRest, string(c.pending)) {
		var buf [len(prefaceRest)]byte
		n, err := c.Conn.Read(buf[len(c.pending):])
		c.pending = append(c.pending, buf[len(c.pending):][:n]...)
		if err != nil && n == 0 {
			return 0, err
		}
	}
	if !bytes.HasPrefix(c.pending, []byte(prefaceRest)) {
		return c.refuse(p, 0, Version)
	}
	c.requests.state = unchecked
	c.follow()
	return c.receive(p)
}

// Upgraded ends the checking. The handler that has taken the connection over from the
// server calls it before reading, as another protocol is spoken from then on.
func (c *Conn) Upgraded() {
	if c.Refused() == None {
		c.requests.state, c.hasEarly = unchecked, false
		c.requests.drop()
	}
}

// Between reports whether the reader has read whole requests and nothing of a next one.
func (c *Conn) Between() bool {
	return c.requests.state == inRequestLine && c.requests.line == nil && len(c.pending) == 0 && !c.hasEarly && c.Refused() == None
}

// Refused is the reason of a refusal; None if there was none.
func (c *Conn) Refused() Reason { return Reason(c.refused.Load()) }
