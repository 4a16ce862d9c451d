package connlimit

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/wadi-run/wadi/proxy/parking"
)

// Park has the idle connections of a server without TLS wait outside of it, where
// there are many, see package parking. They keep their slots, and the checking of their
// requests goes on where it was; HTTP/2's connections stay with the server.
type Park struct {
	lot     *parking.Lot
	limiter *Limiter
	idle    time.Duration // How long they may be.
}

// Park makes connections wait that l lets in at addr, for as long as the server may
// have them idle. It is called before the first is accepted.
func (l *Limiter) Park(addr net.Addr, idle time.Duration) *Park {
	l.park = &Park{lot: parking.NewLot(addr, idle), limiter: l, idle: idle}
	return l.park
}

// Listener is where the server gets those again of which something has come. To close
// it closes those that wait.
func (p *Park) Listener() net.Listener { return p.lot }

// Fill has no more of them wait. Those that do are served as before.
func (p *Park) Fill() { p.lot.StopAdding() }

// Waiting is how many there are.
func (p *Park) Waiting() int { return p.lot.Len() }

// Take returns what the server is to have of c, just accepted; nil: it waits.
func (p *Park) Take(c *LimitedConn) net.Conn {
	if p.many() && !c.HasUnread() && p.add(c) {
		return nil
	}
	return &servedConn{LimitedConn: c}
}

func (p *Park) many() bool { return p.limiter.budget.Open() > parking.Threshold }

// add has c wait. False: it can't.
func (p *Park) add(c *LimitedConn) bool {
	raw, err := c.SyscallConn()
	return err == nil && p.lot.Add((*parkedConn)(c), raw)
}

// forget has c, which was closed, wait no more. There may be no park.
func (p *Park) forget(c *LimitedConn) {
	if p != nil {
		p.lot.Remove((*parkedConn)(c))
	}
}

// parkedConn is a connection as the lot sees it.
type parkedConn LimitedConn

// Ticket implements [parking.Conn].
func (c *parkedConn) Ticket() *parking.Ticket { return &c.ticket }

// IsExpired implements [parking.Conn].
func (c *parkedConn) IsExpired() bool {
	return time.Since(time.Unix(0, c.quiet.Load())) >= c.park.idle && !(*LimitedConn)(c).HasUnread()
}

// Drop implements [parking.Conn].
func (c *parkedConn) Drop() { _ = (*LimitedConn)(c).Close() } // Nobody waits for an answer.

// Unpark implements [parking.Conn]. Of one that was closed meanwhile the server gets an error.
func (c *parkedConn) Unpark() net.Conn {
	return &servedConn{LimitedConn: (*LimitedConn)(c), again: true}
}

// servedConn is a connection for as long as the server has it: until it ends, or waits.
// What the server does with it after that does nothing, for another one has it then.
type servedConn struct {
	*LimitedConn
	again bool        // The server takes it for a new one. The reader's.
	over  atomic.Bool // The server has it no more.

	parkable atomic.Bool  // The deadline is one after which it waits in the lot;
	until    atomic.Int64 // the server's own, in Unix nanoseconds.
	parking  atomic.Bool  // The server is told that it has ended.
}

// SetReadDeadline does as it says, but for one that is to wait in the lot when it has
// been idle for a while.
func (c *servedConn) SetReadDeadline(t time.Time) error {
	if c.again {
		c.again = false
		t = time.Now().Add(c.park.idle)
	}
	soon, parks := c.parkTime(t)
	if parks {
		c.until.Store(t.UnixNano())
	}
	if c.parkable.Store(parks); parks {
		return c.below.SetReadDeadline(soon)
	}
	return c.LimitedConn.SetReadDeadline(t)
}

// parkTime is when c is to wait in the lot, if it is before t.
func (c *servedConn) parkTime(t time.Time) (soon time.Time, parks bool) {
	if State(c.state.Load()) != Idle || c.http2.Load() || !c.park.many() {
		return t, false
	}
	soon = time.Now().Add(parking.IdleTime(int64(c.park.limiter.budget.Open())))
	return soon, soon.Before(t)
}

// SetDeadline does the same, and sets that of writing.
func (c *servedConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// Read reads. One that has been idle for a while ends, to the server.
func (c *servedConn) Read(b []byte) (int, error) {
	for !c.parking.Load() {
		n, err := c.LimitedConn.Read(b)
		if !c.parkable.Load() || n == 0 && err == nil {
			return n, err
		}
		c.parkable.Store(false)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if checked, ok := c.Conn.(interface{ Between() bool }); ok && checked.Between() && c.park.lot.Open() {
			c.parking.Store(true)
		} else if err := c.LimitedConn.SetReadDeadline(time.Unix(0, c.until.Load())); err != nil {
			return 0, err
		}
	}
	return 0, io.EOF // The server may ask twice.
}

// Close closes the connection, unless it is to wait.
func (c *servedConn) Close() error {
	if !c.over.CompareAndSwap(false, true) {
		return nil
	}
	if !c.parking.Load() {
		return c.LimitedConn.Close()
	}
	if !c.park.add(c.LimitedConn) {
		go c.park.lot.Release((*parkedConn)(c.LimitedConn)) // The server is not done with it yet.
	}
	return nil
}

// NetConn is the connection below. Nobody may read from it.
func (c *servedConn) NetConn() net.Conn { return c.LimitedConn }
