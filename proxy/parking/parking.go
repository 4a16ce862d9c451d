// Package parking has the idle connections of an HTTP server wait outside of it, where
// there are many: to the server each costs two buffers of 4 KiB and the stack of a
// goroutine. The server believes that they have ended, and gets them as new ones when a
// byte comes, which costs about half as much as a small request.
//
// What a connection is, and who may end it, is its owner's affair; package proxy/queue
// and package proxy have one each.
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

// What the process needs at its worst stays resident for long, so the more connections
// there are the sooner they are parked.
const (
	MaxIdle   = time.Second // Of idleness, where there are Beyond.
	MinIdle   = MaxIdle / 4
	Threshold = 512 // Connections. With fewer it is not worth the trouble.

	sweepEvery = time.Minute
)

// IdleTime is how long a connection of so many may be idle in the server.
func IdleTime(conns int64) time.Duration {
	return max(MaxIdle*Threshold/time.Duration(max(conns, Threshold)), MinIdle)
}

// Conn is a connection that can wait in a [Lot].
type Conn interface {
	// Ticket is the connection's own, all its life.
	Ticket() *Ticket
	// IsExpired reports whether it has been idle for too long, and nothing has come.
	IsExpired() bool
	// Drop closes it: its peer has gone, or it is old, or the server ends.
	Drop()
	// Unpark is what the server is to get; nil if it is not to have it any more.
	Unpark() net.Conn
}

// Ticket is where a connection waits. The lot's mutex guards it.
type Ticket struct {
	key uint64 // Zero: it doesn't.
	raw syscall.RawConn
}

// Lot holds the connections that wait for a byte, and is the listener through which
// the server gets them again. [NewLot] makes one.
type Lot struct {
	addr  net.Addr
	sweep time.Duration
	ready chan net.Conn
	done  chan struct{}

	mu      sync.Mutex
	closed  bool
	full    bool // There is no way to wait for more of them.
	poll    *socket.Poller
	parked  map[uint64]Conn
	lastKey uint64 // Key.
}

// NewLot returns a lot for a listener at addr, whose connections may be idle for so long.
func NewLot(addr net.Addr, idle time.Duration) *Lot {
	return &Lot{addr: addr, sweep: min(sweepEvery, idle/8), ready: make(chan net.Conn), done: make(chan struct{}), parked: map[uint64]Conn{}}
}

// Accept returns the next one of which something has come.
func (l *Lot) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.done:
		return nil, http.ErrServerClosed
	}
}

// Close closes those that wait, too: the server ends.
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
		c.Drop() // Nobody waits for an answer.
	}
	return nil
}

// Addr is that of the listener.
func (l *Lot) Addr() net.Addr { return l.addr }

// StopAdding has no more connections wait. Those that do are served as before.
func (l *Lot) StopAdding() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.full = true
}

// Len is how many connections wait.
func (l *Lot) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.parked)
}

// Open reports whether connections can wait here.
func (l *Lot) Open() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.poll == nil && !l.full {
		poll, err := socket.NewPoller()
		if err != nil { // They are left to the server, while there are no descriptors or for ever.
			l.full = !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE)
			return false
		}
		l.poll = poll
		go l.run(poll)
	}
	return !l.full
}

// Add waits for c. False means that it can't: c is closed, or there is no room.
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
		l.full = l.full || !errors.Is(err, net.ErrClosed) // The kernel watches no more than so many.
	}
	return err == nil
}

// Remove waits for c no longer. False means that it was not waited for. Who closes a
// connection calls it afterwards: then nobody can add it any more.
func (l *Lot) Remove(c Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := c.Ticket()
	if p.key == 0 {
		return false
	}
	delete(l.parked, p.key)
	_ = l.poll.Remove(p.raw) // It fails on closed ones, which are forgotten.
	*p = Ticket{}
	return true
}

// run gives the server what it is to serve, until the poller is closed.
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

// readable deals with one of which something was heard.
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
		c.Drop() // It was not in use, and its peer has gone.
		return
	}
	l.Release(c)
}

// Release gives c, which waits no more, to the server again.
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

// Sweep drops those that were idle for too long. It happens by itself from time to time.
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
		c.Drop() // It was not in use.
	}
}
