package upstream

import (
	"io"
	"net"
	"net/http"
	"time"
)

const (
	// maxLingered is how many bytes of an unwanted answer are read while its connection
	// lingers; an app that sends more has not noticed the half-close.
	maxLingered = 1 << 20
	// lastWords is how long an app may still send: what was on its way when it noticed the
	// half-close, or its reaction to that.
	lastWords = time.Second
)

// PeerTracker may be implemented by the response writer given to [Upstream.Forward]. It then
// learns of peers that still work on a request that was broken off.
type PeerTracker interface {
	// PeerBusy notes that a peer still works on the request. PeerDone follows once, perhaps
	// after the handler has returned.
	PeerBusy()
	PeerDone()
}

// Deferrer may be implemented by the response writer given to [Upstream.Forward]. It then calls
// wait, which waits for the caller alone, at the end of the handler: when what is held for
// the app was given back.
type Deferrer interface {
	Later(wait func())
}

// abandon ends a connection in the midst of the request answered by w. With lingering the
// peer's reading ends, and the peer is done with the request when it closes the connection.
func (p *http1Pool) abandon(c *http1Conn, w http.ResponseWriter) {
	t, ok := w.(PeerTracker)
	if p.linger <= 0 || c.tcp == nil || !ok {
		p.discard(c)
		return
	}
	t.PeerBusy()
	c.deadline.Lock()
	c.lingering = true
	c.deadline.Unlock()
	c.release()
	p.done(c)
	go func() { // It ends within the lingering.
		_ = c.tcp.SetWriteDeadline(time.Unix(1, 0)) // Ends a write that goes on. It fails on closed ones.
		if c.tcp.CloseWrite() != nil || !hasNoticed(c.tcp, p.linger) {
			_ = c.tcp.SetLinger(0) // Reset: the app's next write fails. This fails on closed ones.
		}
		p.discardUnused(c)
		t.PeerDone()
	}()
}

// hasNoticed waits until the peer of c, which is half-closed, closes its side. It gives up on a
// peer that is silent for too long, and on a peer that still sends after lastWords: that
// would go on for as long as the answer lasts.
func hasNoticed(c *net.TCPConn, patience time.Duration) bool {
	began := time.Now()
	if c.SetReadDeadline(began.Add(min(lastWords, patience))) != nil {
		return true
	}
	switch _, err := io.CopyN(io.Discard, c, maxLingered); {
	case err == nil:
		return false
	case !isTimeout(err):
		return true // The connection has ended.
	}
	if c.SetReadDeadline(began.Add(patience)) != nil {
		return true
	}
	n, err := c.Read(make([]byte, 1))
	return n == 0 && !isTimeout(err)
}

// interruptIO ends all reading and writing of c.
func (c *http1Conn) interruptIO() {
	if c.pool.linger <= 0 || c.tcp == nil {
		_ = c.Close() // Ends waiting reads and writes.
		return
	}
	c.deadline.Lock()
	defer c.deadline.Unlock()
	if c.interrupted = true; !c.lingering {
		_ = c.tcp.SetDeadline(time.Unix(1, 0)) // It fails on closed ones.
	}
}

// limitRead sets the read deadline. False: c was interrupted, and all reads fail.
func (c *http1Conn) limitRead(until time.Time) bool {
	c.deadline.Lock()
	defer c.deadline.Unlock()
	return !c.interrupted && c.SetReadDeadline(until) == nil
}

// tunnelled is c as the peer of a tunnel. It may linger when the tunnel breaks.
func (c *http1Conn) tunnelled() net.Conn {
	if c.pool.linger > 0 && c.tcp != nil {
		return interruptedConn{c.tcp, c}
	}
	return c.Conn
}

// interruptedConn is interrupted by Close.
type interruptedConn struct {
	*net.TCPConn
	c *http1Conn
}

func (i interruptedConn) Close() error {
	i.c.interruptIO()
	return nil
}
