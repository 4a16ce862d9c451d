package queue

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wadi-run/wadi/proxy"
	"github.com/wadi-run/wadi/proxy/parking"
	"github.com/wadi-run/wadi/proxy/socket"
)

// conn is a connection of the traffic plane.
type conn struct {
	net.Conn
	of    *conns
	pri   int          // How much of HTTP/2's first line has come, and nothing else. The reader's.
	known atomic.Bool  // What it speaks is known:
	http2 atomic.Bool  // HTTP/2.
	again bool         // The server has it for the second time, and has not waited for it yet.
	phase atomic.Int32 // Of its requests.
	since atomic.Int64 // When it was accepted, became quiet, or was left.
	gone  sync.Once

	parkable atomic.Bool   // The deadline is one after which it is parked.
	parking  atomic.Bool   // The server is told that it has ended.
	place    parking.Place // Among those.

	goAway goAway
}

// isIdle reports whether c has had no request for a time, and none is on its way.
func (c *conn) isIdle(quiet time.Duration) bool {
	return c.phase.Load() == phaseQuiet && c.quietFor() >= quiet && !c.hasUnread()
}

func (c *conn) quietFor() time.Duration { return time.Since(time.Unix(0, c.since.Load())) }

// hasUnread reports whether bytes have come that nobody has read: on a machine that
// has no time for us they may be a request that came a while ago.
func (c *conn) hasUnread() bool {
	n, err := c.peek()
	return err == nil && n > 0
}

// peek returns how much there is to read, up to one byte. 0 without an error is the end.
func (c *conn) peek() (n int, err error) {
	raw, err := c.raw()
	if err != nil {
		return 0, err
	}
	return socket.Peek(raw)
}

// raw is the descriptor of c.
func (c *conn) raw() (syscall.RawConn, error) {
	s, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return s.SyscallConn()
}

// SetReadDeadline does as it says, but for a connection that is to be parked when it
// has been idle for a while.
func (c *conn) SetReadDeadline(t time.Time) error {
	if c.again { // The server takes it for a new one.
		c.again = false
		t = time.Now().Add(idleTimeout)
	}
	parkable := c.of.many() && c.phase.Load() == phaseQuiet && !c.http2.Load() && time.Until(t) > idleTimeout/2
	if c.parkable.Store(parkable); parkable {
		t = time.Now().Add(parking.Time(c.of.n.Load()))
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *conn) Read(b []byte) (int, error) {
	if c.parking.Load() {
		return 0, io.EOF // The server asks twice before the first request.
	}
	n, err := c.Conn.Read(b)
	if err != nil && c.parkable.Load() && errors.Is(err, os.ErrDeadlineExceeded) && c.phase.Load() != phaseLeaving {
		return n, c.park()
	}
	if n > 0 && c.phase.Load() != phaseBusy && !c.http2.Load() && !c.begins() {
		c.swallow(b)
		return 0, io.EOF
	}
	if !c.known.Load() && !c.listen(b[:n]) {
		_ = c.drop() // There are too many of its kind, and nothing was asked on it.
		return 0, io.EOF
	}
	return n, err
}

// begins notes that something of a request has come: the server says so only when it
// has the whole header. False means that the connection is left.
func (c *conn) begins() bool {
	if !c.phase.CompareAndSwap(phaseQuiet, phaseBegun) {
		return c.phase.Load() != phaseLeaving
	}
	if c.of.many() { // Else nobody asks.
		c.since.Store(time.Now().UnixNano())
	}
	return true
}

// http2Line begins a connection that speaks HTTP/2, and none that speaks HTTP/1, whose
// methods may begin with anything. The check lets it pass as it is or not at all.
const http2Line = "PRI * HTTP/2.0\r\n"

// listen finds out by the first bytes what the connection speaks. False means that it
// may not.
func (c *conn) listen(b []byte) bool {
	for _, got := range b {
		if got != http2Line[c.pri] {
			c.known.Store(true)
			return true
		}
		if c.pri++; c.pri == len(http2Line) {
			ok := c.of.speaksHTTP2(c)
			c.known.Store(true)
			return ok
		}
	}
	return true
}

// Close closes the connection, unless it is to be parked.
func (c *conn) Close() error {
	if c.parking.Swap(false) {
		if !c.wait() {
			go c.of.parked.GiveBack(c) // The server is not done with it yet.
		}
		return nil
	}
	return c.drop()
}

// drop closes the connection, and makes room for another one.
func (c *conn) drop() error {
	err := c.Conn.Close()
	c.of.parked.Remove(c)
	c.gone.Do(func() { c.of.remove(c) })
	return err
}

// ReadFrom lets the kernel copy from one connection to another.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	if below, ok := c.Conn.(io.ReaderFrom); ok {
		return below.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c}, r)
}

// NetConn is the connection below. Nobody may read from it.
func (c *conn) NetConn() net.Conn { return c.Conn }

// CloseWrite ends what is sent.
func (c *conn) CloseWrite() error {
	if below, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return below.CloseWrite()
	}
	return c.Close()
}

// Upgraded ends the checking of requests.
func (c *conn) Upgraded() {
	proxy.NotifyUpgraded(c.Conn)
}
