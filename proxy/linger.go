package proxy

import (
	"io"
	"net"
	"time"
)

// maxLingered is how much of an answer for nobody is read while its end is waited
// for; an app that sends more finds that nobody reads it.
const maxLingered = 1 << 20

// WhenLeft calls f when no peer is at work on the request any more: at once, or when
// all that were broken off in the midst of it have closed their connection. It is to
// be called once, after the forwarding.
func (t *Timed) WhenLeft(f func()) {
	t.mu.Lock()
	if t.behind > 0 {
		t.whenLeft = f
		t.mu.Unlock()
		return
	}
	t.mu.Unlock()
	f()
}

// leftBehind counts a peer that is still at work, or -1 that it is no longer.
func (t *Timed) leftBehind(n int) {
	t.mu.Lock()
	t.behind += n
	var f func()
	if t.behind == 0 {
		f, t.whenLeft = t.whenLeft, nil
	}
	t.mu.Unlock()
	if f != nil {
		f()
	}
}

// abandon ends a connection in the midst of a request. With lingering the peer hears
// of it by the end of what it reads, and has done with the request when it closes.
func (p *http1Pool) abandon(c *http1Conn) {
	p.mu.Lock()
	ctx, _ := c.of.(*timedContext)
	p.mu.Unlock()
	if p.linger <= 0 || c.tcp == nil || ctx == nil {
		p.discard(c)
		return
	}
	t := (*Timed)(ctx)
	t.leftBehind(1)
	c.release()
	p.done(c)
	go func() {
		_ = c.tcp.SetWriteDeadline(time.Unix(1, 0)) // Whoever still writes is to end. It fails on closed ones.
		if c.tcp.CloseWrite() == nil && c.tcp.SetReadDeadline(time.Now().Add(p.linger)) == nil {
			_, _ = io.CopyN(io.Discard, c.tcp, maxLingered)
		}
		p.discardUnused(c)
		t.leftBehind(-1)
	}()
}

// interruptIO ends all that waits on a connection which may linger.
func (c *http1Conn) interruptIO() {
	if c.pool.linger > 0 && c.tcp != nil {
		_ = c.tcp.SetDeadline(time.Unix(1, 0)) // It fails on closed ones.
		return
	}
	_ = c.Close() // Whoever waits on it hears of it.
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
