// Package parking keeps the idle connections of an HTTP server outside of it, where there
// are many: in the server each takes two buffers of 4 KiB and the stack of a goroutine.
//
// It promises that a byte on a parked connection brings it back to the server, which
// believes that the connection had ended and gets it as a new one. That costs about half
// as much as a small request. It never reads from a connection, and leaves to the owner
// what a connection is and when it ends.
package parking

import (
	"errors"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/wadi-run/wadi/proxy/socket"
)

// The more connections there are the sooner they are parked, as the process keeps its
// largest memory for long.
const (
	MaxIdle   = time.Second // Time in the server with Threshold connections.
	MinIdle   = MaxIdle / 4
	Threshold = 512 // Connections. With fewer, parking is not worth its cost.

	sweepEvery = time.Minute
)

// IdleTime is how long one of conns connections may be idle in the server.
func IdleTime(conns int64) time.Duration {
	return max(MaxIdle*Threshold/time.Duration(max(conns, Threshold)), MinIdle)
}

// Conn is a connection that can wait in a [Lot].
type Conn interface {
	// Ticket is the same for all the connection's life.
	Ticket() *Ticket
	// IsExpired reports whether it has been idle for too long, with nothing to read.
	IsExpired() bool
	// Drop closes it: its peer has gone, or it is expired, or the server ends.
	Drop()
	// Unpark returns the connection for the server; nil if the server must not get it.
	Unpark() net.Conn
}

// Ticket is a connection's entry in a [Lot], whose mutex guards it.
type Ticket struct {
	key uint64 // Zero: not parked.
	raw syscall.RawConn
}

// Lot holds parked connections until a byte comes, and is the listener by which the server
// gets them back. [NewLot] makes one.
type Lot struct {
	addr  net.Addr
	sweep time.Duration
	ready chan net.Conn
	done  chan struct{}

	mu      sync.Mutex
	closed  bool
	full    bool // No more connections can be parked.
	poll    *socket.Poller
	parked  map[uint64]Conn
	lastKey uint64 // The newest ticket's key.
}

// NewLot returns a lot for a listener at addr, whose connections may be idle for idle.
func NewLot(addr net.Addr, idle time.Duration) *Lot {
	return &Lot{addr: addr, sweep: min(sweepEvery, idle/8), ready: make(chan net.Conn), done: make(chan struct{}), parked: map[uint64]Conn{}}
}

// Accept returns the next connection on which something has come.
func (l *Lot) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.done:
		return nil, http.ErrServerClosed
	}
}

// Close ends Accept and closes the parked connections: the server ends.
func (l *Lot) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed, l.full = true, true
	close(l.done)
	if l.poll != nil {
		l.poll.Close()
	}
	rest := slices.Collect(maps.Values(l.parked))
	l.mu.Unlock()
	for _, c := range rest {
		c.Drop() // No answer is due.
	}
	return nil
}

// Addr is the listener's address.
func (l *Lot) Addr() net.Addr { return l.addr }

// StopAdding has no more connections parked. Parked ones are served as before.
func (l *Lot) StopAdding() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.full = true
}

// Len is the number of parked connections.
func (l *Lot) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.parked)
}

// Open reports whether connections can be parked.
func (l *Lot) Open() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.poll == nil && !l.full {
		poll, err := socket.NewPoller()
		if err != nil { // The server keeps its connections, while descriptors are short or for ever.
			l.full = !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE)
			return false
		}
		l.poll = poll
		go l.run(poll)
	}
	return !l.full
}

// Add parks c. False means that it can't: c is closed, or the lot is full.
func (l *Lot) Add(c Conn, raw syscall.RawConn) bool {
	if !l.Open() {
		return false
	}
	p := c.Ticket()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.full {
		return false
	}
	l.lastKey++
	p.key, p.raw = l.lastKey, raw
	l.parked[p.key] = c
	err := l.poll.Add(raw, socket.Readable|socket.Ended, p.key)
	if err != nil {
		delete(l.parked, p.key)
		*p = Ticket{}
		l.full = l.full || !errors.Is(err, net.ErrClosed) // The kernel watches no more connections.
	}
	return err == nil
}

// Remove takes c out of the lot, and reports whether it was parked. The owner calls it
// after closing a connection: a closed one can't be added again.
func (l *Lot) Remove(c Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := c.Ticket()
	if p.key == 0 {
		return false
	}
	delete(l.parked, p.key)
	_ = l.poll.Remove(p.raw) // It fails on closed connections, which the poller has forgotten.
	*p = Ticket{}
	return true
}

// run brings connections back to the server, until the poller is closed.
func (l *Lot) run(poll *socket.Poller) {
	var keys [64]uint64
	for sweep := time.Now().Add(l.sweep); ; {
		n, err := poll.Wait(keys[:], sweep)
		for _, key := range keys[:n] {
			l.readable(key)
		}
		if !time.Now().Before(sweep) {
			l.Sweep()
			sweep = time.Now().Add(l.sweep)
		} else if err != nil {
			return
		}
	}
}

// readable handles an event on a parked connection.
func (l *Lot) readable(key uint64) {
	l.mu.Lock()
	c := l.parked[key]
	if c == nil {
		l.mu.Unlock()
		return
	}
	raw := c.Ticket().raw
	l.mu.Unlock()
	n, err := socket.Peek(raw)
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) || !l.Remove(c) {
		return
	}
	if n == 0 {
		c.Drop() // The peer has closed an idle connection.
		return
	}
	l.Release(c)
}

// Release gives c, which is not parked any more, back to the server.
func (l *Lot) Release(c Conn) {
	again := c.Unpark()
	if again == nil {
		return
	}
	select {
	case l.ready <- again:
	case <-l.done:
		_ = again.Close() // The server ends.
	}
}

// Sweep drops expired connections. The lot does so from time to time by itself.
func (l *Lot) Sweep() {
	var old []Conn
	l.mu.Lock()
	for _, c := range l.parked {
		if c.IsExpired() {
			old = append(old, c)
		}
	}
	l.mu.Unlock()
	for _, c := range old {
		c.Drop() // It was idle.
	}
}
