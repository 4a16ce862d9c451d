package conns

import (
	"io"
	"net"
	"syscall"
	"time"

	"github.com/wadi-run/wadi/proxy/parking"
)

// checked is a connection of package framing.
type checked interface {
	Between() bool
	syscall.Conn
}

// park has the server forget c, unless the server has seen something of a request. It
// returns the error that ends the connection for the server.
func (c *conn) park() error {
	if below, ok := c.Conn.(checked); !ok || !below.Between() || !c.listener.lot.Open() {
		c.parkable.Store(false)
		return c.Conn.SetReadDeadline(time.Now().Add(IdleTimeout))
	}
	c.parking.Store(true)
	return io.EOF
}

// enterLot parks c. False means that c can't be parked, now or later.
func (c *conn) enterLot() bool {
	raw, err := c.raw()
	return err == nil && c.listener.lot.Add(c, raw)
}

var _ parking.Conn = (*conn)(nil)

// Ticket implements [parking.Conn].
func (c *conn) Ticket() *parking.Ticket { return &c.ticket }

// IsExpired implements [parking.Conn].
func (c *conn) IsExpired() bool { return c.isIdle(IdleTimeout) }

// Drop implements [parking.Conn].
func (c *conn) Drop() { _ = c.drop() } // No answer is due.

// Unpark implements [parking.Conn]. The server gets the connection in a new wrapper; one
// that was shut down meanwhile is closed here.
func (c *conn) Unpark() net.Conn {
	if again := c.listener.rewrap(c); again != nil {
		return again
	}
	if c.phase.Load() == phaseClosing {
		go c.discardAndDrop()
	}
	return nil
}

// rewrap gives the connection of c, which the server has forgotten, a new wrapper; nil
// if it was closed or shut down meanwhile. In the latter case nothing reads from it yet.
func (l *Listener) rewrap(c *conn) *conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, open := l.open[c]; !open || !c.phase.CompareAndSwap(phaseIdle, phaseActive) {
		return nil
	}
	delete(l.open, c)
	again := l.add(c.Conn)
	again.rewrapped, again.preface = true, c.preface
	again.known.Store(c.known.Load())
	return again
}
