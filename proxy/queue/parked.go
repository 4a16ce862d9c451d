package queue

import (
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/wadi-run/wadi/proxy/socket"
)

// Where there are many connections, those that are idle are taken from the server,
// to which each costs two buffers of 4 KiB and the stack of a goroutine. The server
// believes that they have ended, and gets them as new ones when a byte comes, which
// costs about half as much as a small request.
//
// What the process needs at its worst stays resident for long, so the more there are
// the sooner they are parked.
const (
	parkAfter   = time.Second // Of idleness, where there are parkBeyond.
	parkAtLeast = parkAfter / 4
	parkBeyond  = 512 // Connections. With fewer it is not worth the trouble.
	parkSweep   = time.Minute
)

// parkTime is how long a connection of so many may be idle in the server.
func parkTime(conns int64) time.Duration {
	return max(parkAfter*parkBeyond/time.Duration(max(conns, parkBeyond)), parkAtLeast)
}

// parked holds the connections that wait for a byte, and is the listener through
// which the server gets them again.
type parked struct {
	addr  net.Addr
	ready chan *conn
	ended chan struct{}

	mu    sync.Mutex
	over  bool
	none  bool // There is no way to wait for them, or no longer.
	poll  *socket.Poller
	waits map[uint64]*conn
	last  uint64 // Key.
}

func newParked(addr net.Addr) *parked {
	return &parked{addr: addr, ready: make(chan *conn), ended: make(chan struct{}), waits: map[uint64]*conn{}}
}

func (p *parked) Accept() (net.Conn, error) {
	select {
	case c := <-p.ready:
		return c, nil
	case <-p.ended:
		return nil, http.ErrServerClosed
	}
}

// Close closes those that wait, too: the process ends.
func (p *parked) Close() error {
	p.mu.Lock()
	if p.over {
		p.mu.Unlock()
		return nil
	}
	p.over, p.none = true, true
	close(p.ended)
	if p.poll != nil {
		p.poll.Close()
	}
	rest := slices.Collect(maps.Values(p.waits))
	p.mu.Unlock()
	for _, c := range rest {
		_ = c.drop() // Nobody waits for an answer.
	}
	return nil
}

func (p *parked) Addr() net.Addr { return p.addr }

// checked is a connection of package framing.
type checked interface {
	Between() bool
	syscall.Conn
}

// park ends what the server knows of c, unless it has had something of a request. It
// returns the error that tells the server so.
func (c *conn) park() error {
	if below, ok := c.Conn.(checked); !ok || !below.Between() || !c.of.parked.open() {
		c.parkable.Store(false)
		return c.Conn.SetReadDeadline(time.Now().Add(idleTimeout))
	}
	c.parking.Store(true)
	return io.EOF
}

// open reports whether connections can be parked.
func (p *parked) open() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.poll == nil && !p.none {
		var err error
		if p.poll, err = socket.NewPoller(); err != nil {
			p.none = true // All are left to the server.
		} else {
			go p.run(p.poll)
		}
	}
	return !p.none
}

// add waits for c. False means that it can't, and never will.
func (p *parked) add(c *conn) bool {
	raw, err := c.raw()
	if err != nil || !p.open() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	c.parked = p.last
	p.waits[c.parked] = c
	err = p.poll.Add(raw, socket.Readable|socket.Ended, c.parked)
	if err != nil {
		delete(p.waits, c.parked)
		c.parked = 0
		p.none = p.none || !errors.Is(err, net.ErrClosed) // The kernel watches no more than so many.
	}
	return err == nil
}

// remove waits for c no longer. False means that it was not waited for.
func (p *parked) remove(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.parked == 0 {
		return false
	}
	delete(p.waits, c.parked)
	c.parked = 0
	if raw, err := c.raw(); err == nil && p.poll != nil {
		_ = p.poll.Remove(raw) // It fails on closed ones, which are forgotten.
	}
	return true
}

// run gives the server what it is to serve, until the poller is closed.
func (p *parked) run(poll *socket.Poller) {
	var keys [64]uint64
	for sweep := time.Now().Add(parkSweep); ; {
		n, err := poll.Wait(keys[:], sweep)
		for _, key := range keys[:n] {
			p.mu.Lock()
			c := p.waits[key]
			p.mu.Unlock()
			if c != nil {
				p.came(c)
			}
		}
		if !time.Now().Before(sweep) {
			p.sweep()
			sweep = time.Now().Add(parkSweep)
		} else if err != nil {
			return
		}
	}
}

// came deals with one of which something was heard.
func (p *parked) came(c *conn) {
	n, err := c.peek()
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) || !p.remove(c) {
		return
	}
	if n == 0 {
		_ = c.drop() // It was not in use, and its peer has gone.
		return
	}
	p.giveBack(c)
}

// giveBack gives c to the server again.
func (p *parked) giveBack(c *conn) {
	again := c.of.exchange(c)
	if again == nil {
		if c.phase.Load() == phaseLeaving {
			go c.lastWords()
		}
		return
	}
	select {
	case p.ready <- again:
	case <-p.ended:
		_ = again.drop() // The process ends.
	}
}

// sweep closes those that were idle for too long.
func (p *parked) sweep() {
	var old []*conn
	p.mu.Lock()
	for _, c := range p.waits {
		if c.isIdle(idleTimeout) {
			old = append(old, c)
		}
	}
	p.mu.Unlock()
	for _, c := range old {
		_ = c.drop() // It was not in use.
	}
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
