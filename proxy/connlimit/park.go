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

// Park keeps the idle connections of a server without TLS outside of it if there are many, see
// package parking. They keep their slots and the state of the checking of their requests;
// HTTP/2 connections stay with the server.
type Park struct {
	lot     *parking.Lot
	limiter *Limiter
	idle    time.Duration // How long a connection may be idle.
}

// Park parks idle connections that l accepts at addr, for at most idle. It is called before
// the first is accepted.
func (l *Limiter) Park(addr net.Addr, idle time.Duration) *Park {
	l.park = &Park{lot: parking.NewLot(addr, idle), limiter: l, idle: idle}
	return l.park
}

// Listener returns parked connections to the server when bytes have come. Closing it closes
// the parked ones.
func (p *Park) Listener() net.Listener { return p.lot }

// Fill parks no more connections. The parked ones are served as before.
func (p *Park) Fill() { p.lot.StopAdding() }

// Waiting is the number of parked connections.
func (p *Park) Waiting() int { return p.lot.Len() }

// Take returns the connection for the server of c, just accepted; nil: c is parked.
func (p *Park) Take(c *LimitedConn) net.Conn {
	if p.many() && !c.HasUnread() && p.add(c) {
		return nil
	}
	return &servedConn{LimitedConn: c}
}

func (p *Park) many() bool { return p.limiter.budget.Open() > parking.Threshold }

// add parks c. False: it can't be parked.
func (p *Park) add(c *LimitedConn) bool {
	raw, err := c.SyscallConn()
	return err == nil && p.lot.Add((*parkedConn)(c), raw)
}

// forget removes c, which was closed. P may be nil.
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
func (c *parkedConn) Drop() { _ = (*LimitedConn)(c).Close() } // It carries no request.

// Unpark implements [parking.Conn]. If c was closed meanwhile the server's read fails.
func (c *parkedConn) Unpark() net.Conn {
	return &servedConn{LimitedConn: (*LimitedConn)(c), again: true}
}

// servedConn is a connection while the server has it: until it ends or is parked. Then the
// server's calls have no effect, for another servedConn may have the connection.
type servedConn struct {
	*LimitedConn
	again bool        // It was parked, and the server takes it for a new one. The reader's.
	over  atomic.Bool // The server has closed it.

	parkable atomic.Bool  // The present deadline is that of parking;
	until    atomic.Int64 // the server's own deadline, in Unix nanoseconds.
	parking  atomic.Bool  // It is being parked: the server's reads return the end.
}

// SetReadDeadline sets t, or an earlier deadline after which an idle connection is parked.
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

// parkTime is when c is parked, if that is before t.
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

// Read reads. For the server a connection that is parked has ended.
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
		if checked, ok := c.Conn.(betweener); ok && checked.Between() && c.park.lot.Open() {
			c.parking.Store(true)
		} else if err := c.LimitedConn.SetReadDeadline(time.Unix(0, c.until.Load())); err != nil {
			return 0, err
		}
	}
	return 0, io.EOF // The server may read again.
}

// Close closes the connection, or parks it.
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

// NetConn is the connection below, which must not be read from.
func (c *servedConn) NetConn() net.Conn { return c.LimitedConn }

// betweener is a connection that knows whether it is between two requests.
type betweener interface{ Between() bool }
