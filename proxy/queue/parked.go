package queue

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

// park ends what the server knows of c, unless it has had something of a request. It
// returns the error that tells the server so.
func (c *conn) park() error {
	if below, ok := c.Conn.(checked); !ok || !below.Between() || !c.of.parked.Open() {
		c.parkable.Store(false)
		return c.Conn.SetReadDeadline(time.Now().Add(idleTimeout))
	}
	c.parking.Store(true)
	return io.EOF
}

// wait has c parked. False means that it can't be, and never will.
func (c *conn) wait() bool {
	raw, err := c.raw()
	return err == nil && c.of.parked.Add(c, raw)
}

var _ parking.Conn = (*conn)(nil)

// Place implements [parking.Conn].
func (c *conn) Place() *parking.Place { return &c.place }

// IsOld implements [parking.Conn].
func (c *conn) IsOld() bool { return c.isIdle(idleTimeout) }

// Drop implements [parking.Conn].
func (c *conn) Drop() { _ = c.drop() } // Nobody waits for an answer.

// Again implements [parking.Conn]. The connection gets another shell; one that was left
// meanwhile has its last words.
func (c *conn) Again() net.Conn {
	if again := c.of.exchange(c); again != nil {
		return again
	}
	if c.phase.Load() == phaseLeaving {
		go c.lastWords()
	}
	return nil
}

// exchange gives the connection of c, which the server has forgotten, another shell;
// nil if it was closed meanwhile, or left: then nobody reads from it yet.
func (l *conns) exchange(c *conn) *conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, open := l.open[c]; !open || !c.phase.CompareAndSwap(phaseQuiet, phaseBusy) {
		return nil
	}
	delete(l.open, c)
	again := l.add(c.Conn)
	again.again, again.pri = true, c.pri
	again.known.Store(c.known.Load())
	return again
}
