package framing

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Conn is a connection whose requests are checked as they are read. Like others it
// has one reader at a time; writing and closing may go on beside it.
type Conn struct {
	net.Conn
	checker *Checker
	closed  func()
	isGone  atomic.Bool

	begun  atomic.Bool // A byte has come.
	inHead atomic.Bool // Some of a header has come, and not all.

	requests checker
	pending  []byte // Came after a request that asks for another protocol.
	early    byte   // One more, that the server has.
	hasEarly bool
	poison   string // Of what the server gets in place of a request, what it has not got.
	refused  atomic.Uint32
}

// poison is refused by net/http wherever it comes, other than among a body's own
// bytes: no line of a head may have a NUL, and none around a chunk a bare LF. The line
// ends are for a server that waits for them.
const poison = "\x00\n\r\n\r\n"

func (c *Conn) init(k *Checker, below net.Conn, closed func()) {
	c.Conn, c.checker, c.closed = below, k, closed
	c.requests.http2, c.requests.lines = k.cfg.HTTP2, &k.lines
}

// Read reads what may pass.
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

// SetReadDeadline does as it says, but a request's header has its time from its first
// byte on, and no more: the server lets a connection be idle until it has four bytes.
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

// follow notes where the reader is after what it has read.
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

// receive reads what is held, then from the connection.
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

// readPaused reads after a request that asks for another protocol, when nobody has
// said [Conn.Upgraded] yet. While the answer is not known the server watches the
// connection by reading one byte, which is whatever it will be: nothing but one byte
// makes a request. If the server reads on, it reads requests.
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

// readPreface reads the rest of HTTP/2's preface. None of it passes before all has
// come: its first line with the empty one is a request to net/http.
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

// Upgraded ends the checking. Who has taken the connection over from the server calls
// it before reading; what goes on there is another protocol.
func (c *Conn) Upgraded() {
	if c.Refused() == None {
		c.requests.state, c.hasEarly = unchecked, false
		c.requests.drop()
	}
}

// Between reports whether the reader has had whole requests and nothing of a next one.
func (c *Conn) Between() bool {
	return c.requests.state == inRequestLine && c.requests.line == nil && len(c.pending) == 0 && !c.hasEarly && c.Refused() == None
}

// Refused says what was wrong; None: nothing so far.
func (c *Conn) Refused() Reason { return Reason(c.refused.Load()) }

// refuse ends the requests after n bytes of p.
func (c *Conn) refuse(p []byte, n int, why Reason) (int, error) {
	c.requests.drop()
	c.pending = nil
	c.refused.Store(uint32(why))
	if c.checker.cfg.Refused != nil {
		c.checker.cfg.Refused(why)
	}
	c.poison = poison
	m, err := c.readPoison(p[n:])
	return n + m, err
}

// readPoison gives the server what it refuses, and nothing after that. An error in
// its place would say that the caller has gone.
func (c *Conn) readPoison(p []byte) (int, error) {
	if c.poison == "" {
		return 0, &Error{c.Refused()} // Net/http asks for no more.
	}
	n := copy(p, c.poison)
	c.poison = c.poison[n:]
	return n, nil
}

// plainRefusal is what net/http answers to what it can't read, in one write.
const plainRefusal = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request"

// What plainRefusal begins with, and what ours does.
const (
	statusLine  = "HTTP/1.1 400 Bad Request\r\n"
	refusalLine = statusLine + "Wadi-Error: malformed\r\n"
)

// Write writes, and adds to the server's refusal whose it is and why.
func (c *Conn) Write(p []byte) (int, error) {
	if c.Refused() == None || string(p) != plainRefusal {
		return c.Conn.Write(p)
	}
	if _, err := io.WriteString(c.Conn, refusalLine+plainRefusal[len(statusLine):]+": "+c.Refused().Text()+"\n"); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close closes the connection. Of one that was refused it first reads what has come:
// a connection that is closed with unread bytes is reset, and the refusal lost.
func (c *Conn) Close() error {
	if !c.isGone.CompareAndSwap(false, true) {
		return c.Conn.Close()
	}
	if c.Refused() != None {
		discard(c.Conn)
	}
	err := c.Conn.Close()
	if c.closed != nil {
		c.closed()
	}
	return err
}

// discard reads what has come by now, within bounds. It does not wait.
func discard(c net.Conn) {
	if t, ok := c.(tlsConn); ok {
		c = t.NetConn()
	}
	s, ok := c.(syscall.Conn)
	if !ok {
		return
	}
	fd, err := s.SyscallConn()
	if err != nil {
		return
	}
	_ = fd.Control(func(fd uintptr) { // Nothing is lost if it fails.
		var buf [4 << 10]byte
		for range 64 {
			if n, err := syscall.Read(int(fd), buf[:]); n <= 0 || err != nil {
				return
			}
		}
	})
}

// streamConn is a TCP connection.
type streamConn struct {
	Conn
	tcp *net.TCPConn
}

// ReadFrom lets the kernel copy from files and connections.
func (c *streamConn) ReadFrom(r io.Reader) (int64, error) { return c.tcp.ReadFrom(r) }

// WriteTo lets it copy to connections, once nothing is checked any more.
func (c *streamConn) WriteTo(w io.Writer) (int64, error) {
	if c.requests.state != unchecked {
		return io.Copy(w, justReader{c})
	}
	n, err := w.Write(c.pending)
	c.pending = nil
	if err != nil {
		return int64(n), err
	}
	m, err := io.Copy(w, c.tcp)
	return int64(n) + m, err
}

// justReader hides that what it reads from could write itself.
type justReader struct{ io.Reader }

// CloseWrite closes the half that is written.
func (c *streamConn) CloseWrite() error { return c.tcp.CloseWrite() }

// SyscallConn is the connection's descriptor. Nobody may read from it.
func (c *streamConn) SyscallConn() (syscall.RawConn, error) { return c.tcp.SyscallConn() }

// tlsConn is what a server knows of a tls.Conn.
type tlsConn interface {
	net.Conn
	ConnectionState() tls.ConnectionState
	CloseWrite() error
	NetConn() net.Conn
}

// secureConn is a TLS connection.
type secureConn struct {
	Conn
	tls tlsConn
}

// ConnectionState is what net/http sets Request.TLS by.
func (c *secureConn) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

// CloseWrite tells the peer that nothing more comes.
func (c *secureConn) CloseWrite() error { return c.tls.CloseWrite() }

// NetConn is the connection below. Nobody may read from it.
func (c *secureConn) NetConn() net.Conn { return c.tls.NetConn() }
