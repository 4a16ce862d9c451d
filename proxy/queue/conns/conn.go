package conns

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

// conn is an open connection of a Listener, as the server has it. One that is parked
// gets a new conn when it comes back.
type conn struct {
	net.Conn
	listener  *Listener
	preface   int          // Bytes of HTTP/2's first line that have come, and nothing else. The reader's.
	known     atomic.Bool  // The protocol is known:
	http2     atomic.Bool  // HTTP/2.
	rewrapped bool         // It was parked, and the server has not waited for it since.
	phase     atomic.Int32 // See phaseIdle.
	since     atomic.Int64 // When it was accepted, became idle, began a header, or was shut down; Unix nanoseconds.
	removed   sync.Once

	parkable atomic.Bool    // The read deadline is one after which it is parked.
	parking  atomic.Bool    // The server has been given its end, to park it.
	ticket   parking.Ticket // In the lot.

	goAway goAway
}

// isIdle reports whether c has had no request for quiet, and none is on its way.
func (c *conn) isIdle(quiet time.Duration) bool {
	return c.phase.Load() == phaseIdle && c.quietFor() >= quiet && !c.hasUnread()
}

func (c *conn) quietFor() time.Duration { return time.Since(time.Unix(0, c.since.Load())) }

// hasUnread reports whether bytes wait to be read: on a busy machine they may be a
// request that came a while ago.
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

// SetReadDeadline sets t, or an earlier time after which an idle connection is parked.
func (c *conn) SetReadDeadline(t time.Time) error {
	if c.rewrapped { // The server takes it for a new one.
		c.rewrapped = false
		t = time.Now().Add(IdleTimeout)
	}
	parkable := c.listener.crowded() && c.phase.Load() == phaseIdle && !c.http2.Load() && time.Until(t) > IdleTimeout/2
	if c.parkable.Store(parkable); parkable {
		t = time.Now().Add(parking.IdleTime(c.listener.n.Load()))
	}
	return c.Conn.SetReadDeadline(t)
}

// Read reads, and ends for the server when c is to be parked or is shut down.
func (c *conn) Read(b []byte) (int, error) {
	if c.parking.Load() {
		return 0, io.EOF // The server asks twice before the first request.
	}
	n, err := c.Conn.Read(b)
	if err != nil && c.parkable.Load() && errors.Is(err, os.ErrDeadlineExceeded) && c.phase.Load() != phaseClosing {
		return n, c.park()
	}
	if n > 0 && c.phase.Load() != phaseActive && !c.http2.Load() && !c.beginHeader() {
		c.discard(b)
		return 0, io.EOF
	}
	if !c.known.Load() && !c.detect(b[:n]) {
		_ = c.drop() // There are too many of HTTP/2, and no request was read.
		return 0, io.EOF
	}
	return n, err
}

// beginHeader notes that some of a request has come, which the server says only when it
// has the whole header. False means that c is shut down.
func (c *conn) beginHeader() bool {
	if !c.phase.CompareAndSwap(phaseIdle, phaseHeader) {
		return c.phase.Load() != phaseClosing
	}
	if c.listener.crowded() { // Otherwise the time is not needed.
		c.since.Store(time.Now().UnixNano())
	}
	return true
}

// http2Line begins a connection that speaks HTTP/2, and none that speaks HTTP/1, whose
// methods may begin with anything. Package framing lets it pass as it is or not at all.
const http2Line = "PRI * HTTP/2.0\r\n"

// detect finds the protocol of c by its first bytes. False means that c may not speak it.
func (c *conn) detect(b []byte) bool {
	for _, got := range b {
		if got != http2Line[c.preface] {
			c.known.Store(true)
			return true
		}
		if c.preface++; c.preface == len(http2Line) {
			ok := c.listener.admitHTTP2(c)
			c.known.Store(true)
			return ok
		}
	}
	return true
}

// Close closes the connection, unless it is to be parked.
func (c *conn) Close() error {
	if c.parking.Swap(false) {
		if !c.enterLot() {
			go c.listener.lot.Release(c) // The server is not done with it yet.
		}
		return nil
	}
	return c.drop()
}

// drop closes the connection and frees its slot.
func (c *conn) drop() error {
	err := c.Conn.Close()
	c.listener.lot.Remove(c)
	c.removed.Do(func() { c.listener.remove(c) })
	return err
}

// ReadFrom lets the kernel copy from one connection to another.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	if below, ok := c.Conn.(io.ReaderFrom); ok {
		return below.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c}, r)
}

// NetConn is the connection below, which must not be read from.
func (c *conn) NetConn() net.Conn { return c.Conn }

// CloseWrite closes the half that is written.
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
