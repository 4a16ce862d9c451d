package upstream

import (
	"io"
	"net"
	"net/http"
	"time"
)

const (
	// maxLingered is how much of an answer for nobody is read while its end is waited
	// for; an app that sends more has not noticed that nobody reads it.
	maxLingered = 1 << 20
	// lastWords is for how long what an app sends may have been on its way before it
	// could notice that nobody reads it, or be what it does about that.
	lastWords = time.Second
)

// PeerTracker is what a response writer given to [Upstream.Forward] may be besides: what
// the answer's writer learns of the forwarding that outlasts it.
type PeerTracker interface {
	// PeerBusy notes that a peer still works on the request, which was broken off. PeerDone
	// follows, once and perhaps after the handler's end.
	PeerBusy()
	PeerDone()
}

// Deferrer is a response writer that has waiting for the caller alone done at the end of
// the handler, when what is held for the app was given back.
type Deferrer interface {
	Later(wait func())
}

// abandon ends a connection in the midst of a request. With lingering the peer hears
// of it by the end of what it reads, and has done with the request when it closes.
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
		_ = c.tcp.SetWriteDeadline(time.Unix(1, 0)) // Whoever still writes is to end. It fails on closed ones.
		if c.tcp.CloseWrite() != nil || !hasNoticed(c.tcp, p.linger) {
			_ = c.tcp.SetLinger(0) // By a reset: its next write tells the app. It fails on closed ones.
		}
		p.discardUnused(c)
		t.PeerDone()
	}()
}

// hasNoticed waits until the peer of c, whose other half is closed, closes its own. It
// gives up on a peer that is silent for too long, and on one that still sends when it
// must have heard: that would go on for as long as there is something to send.
func hasNoticed(c *net.TCPConn, patience time.Duration) bool {
	began := time.Now()
	if c.SetReadDeadline(began.Add(min(lastWords, patience))) != nil {
		return true
	}
	switch _, err := io.CopyN(io.Discard, c, maxLingered); {
	case err == nil:
		return false
	case !isTimeout(err):
		return true // It has ended, one way or another.
	}
	if c.SetReadDeadline(began.Add(patience)) != nil {
		return true
	}
	n, err := c.Read(make([]byte, 1))
	return n == 0 && !isTimeout(err)
}

// interruptIO ends all that waits on a connection which may linger.
func (c *http1Conn) interruptIO() {
	if c.pool.linger <= 0 || c.tcp == nil {
		_ = c.Close() // Whoever waits on it hears of it.
		return
	}
	c.deadline.Lock()
	defer c.deadline.Unlock()
	if c.interrupted = true; !c.lingering {
		_ = c.tcp.SetDeadline(time.Unix(1, 0)) // It fails on closed ones.
	}
}

// limitRead bounds the reading, unless all of it is to fail already: false.
func (c *http1Conn) limitRead(until time.Time) bool {
	c.deadline.Lock()
	defer c.deadline.Unlock()
	return !c.interrupted && c.SetReadDeadline(until) == nil
}

// tunnelled is c as the peer of a tunnel, which may linger when that breaks.
func (c *http1Conn) tunnelled() net.Conn {
	if c.pool.linger > 0 && c.tcp != nil {
		return interruptedConn{c.tcp, c}
	}
	return c.Conn
}

// interruptedConn is interrupted where others are closed.
type interruptedConn struct {
	*net.TCPConn
	c *http1Conn
}

func (i interruptedConn) Close() error {
	i.c.interruptIO()
	return nil
}
