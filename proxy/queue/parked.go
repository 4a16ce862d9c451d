package queue

import (
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// Where there are many connections, those that are idle are taken from the server,
// to which each costs two buffers of 4 KiB and the stack of a goroutine. The server
// believes that they have ended, and gets them as new ones when a byte comes.
const (
	parkAfter  = time.Second // Of idleness.
	parkBeyond = 512         // Connections. With fewer it is not worth the trouble.
)

// parked is the listener through which the server gets them again.
type parked struct {
	addr  net.Addr
	ready chan *conn
	ended chan struct{}
	end   sync.Once
}

func newParked(addr net.Addr) *parked {
	return &parked{addr: addr, ready: make(chan *conn), ended: make(chan struct{})}
}

func (p *parked) Accept() (net.Conn, error) {
	select {
	case c := <-p.ready:
		return c, nil
	case <-p.ended:
		return nil, http.ErrServerClosed
	}
}

func (p *parked) Close() error {
	p.end.Do(func() { close(p.ended) })
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
	if below, ok := c.Conn.(checked); !ok || !below.Between() {
		c.parkable.Store(false)
		return c.Conn.SetReadDeadline(time.Now().Add(idleTimeout))
	}
	c.parking.Store(true)
	return io.EOF
}

// wait waits until c, which is parked, has something to read, and gives it to the
// server.
func (c *conn) wait() {
	c.isParked.Store(true)
	if !c.readable() {
		_ = c.drop() // Nobody waits for an answer.
		return
	}
	again := c.of.exchange(c)
	if again == nil {
		return
	}
	select {
	case c.of.parked.ready <- again:
	case <-c.of.parked.ended:
		_ = again.drop() // The process ends.
	}
}

// exchange gives the connection of c, which the server has forgotten, another shell;
// nil if it was closed meanwhile.
func (l *conns) exchange(c *conn) *conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, open := l.open[c]; !open {
		return nil
	}
	delete(l.open, c)
	again := l.add(c.Conn)
	again.begun, again.pri = true, len(http2Word) // It is not the first request, and HTTP/1.
	again.heard.Store(true)
	return again
}

// readable waits until something has come. It is false if c has ended, or was idle
// for too long.
func (c *conn) readable() bool {
	raw, err := c.Conn.(checked).SyscallConn()
	if err != nil || c.Conn.SetReadDeadline(time.Now().Add(idleTimeout)) != nil {
		return false
	}
	came := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		came = n > 0
		return err != syscall.EAGAIN && err != syscall.EINTR
	})
	return err == nil && came
}
