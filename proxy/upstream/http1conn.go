package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/wadi-run/wadi/proxy/list"
	"github.com/wadi-run/wadi/proxy/socket"
)

// http1Conn is a connection to a peer, for one request at a time. It belongs to the request
// that took it from the pool; the pool's notes about it are guarded by the pool's mutex.
type http1Conn struct {
	net.Conn
	pool   *http1Pool
	tcp    *net.TCPConn // The same, if it is that.
	reused bool         // It has carried a request before.

	buf  []byte // Borrowed while an answer comes.
	r, w int    // buf[r:w] has come and was not taken.
	head answerHead

	poll    syscall.RawConn // The socket; nil if there is none.
	look    func(fd uintptr) bool
	silent  bool // The result of look: open, and nothing came.
	lookBuf [len(timedOut)]byte

	asking struct { // See ask.
		step   func(fd uintptr) bool
		looked bool
		head   []byte // Nil when it is sent.
		sent   int
		err    error
	}

	deadline    sync.Mutex // Guards these two, and the deadlines where a request may be ended.
	interrupted bool       // The request was ended: all reading and writing fails.
	lingering   bool       // The request is over; ending it has no effect any more.

	// Guarded by the pool.
	idleSince time.Time
	ctx       context.Context       // Of the request, until it is watched.
	node      list.Node[*http1Conn] // In the pool's unwatched list.
	tick      uint64                // When it was taken, in ticks of the pool.
	stop      func() bool           // Ends the watching of the context; nil: it isn't watched.
	abort     func()                // Closes the connection; the same for all requests.
}

// newHTTP1Conn returns c for the first request.
func newHTTP1Conn(p *http1Pool, c net.Conn) *http1Conn {
	hc := &http1Conn{Conn: c, pool: p}
	if hc.tcp, _ = c.(*net.TCPConn); hc.tcp != nil {
		hc.Conn = p.calls.Conn(hc.tcp)
	}
	hc.abort = hc.interruptIO
	under := c
	if t, ok := c.(*tls.Conn); ok {
		under = t.NetConn()
	}
	if s, ok := under.(syscall.Conn); ok {
		hc.poll, _ = s.SyscallConn() // Without it, isAlive reads with a deadline.
	}
	hc.look, hc.asking.step = hc.lookAt, hc.askStep
	return hc
}

// isAlive says whether the peer has neither closed an idle connection nor sent anything
// unasked.
func (c *http1Conn) isAlive() bool {
	if c.poll != nil {
		c.silent = false
		return c.poll.Read(c.look) == nil && c.silent
	}
	if c.SetReadDeadline(time.Unix(1, 0)) != nil {
		return false
	}
	n, err := c.Read(c.lookBuf[:])
	c.cameUnasked(n)
	return n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && c.SetReadDeadline(time.Time{}) == nil
}

// timedOut is how many servers announce that they close an idle connection.
const timedOut = "HTTP/1.1 408"

// cameUnasked notes that n bytes came unasked. Unless they announce the end of an idle
// connection they may be the rest of an answer that is longer than it says, and the peer is
// not trusted any more. Bytes over TLS don't count: they belong to TLS itself, and only
// Wadi's own servers speak that here.
func (c *http1Conn) cameUnasked(n int) {
	if got := string(c.lookBuf[:max(n, 0)]); n > 0 && c.tcp != nil && got != timedOut && got != "HTTP/1.0 408" {
		c.pool.distrust()
	}
}

// lookAt reads without waiting. Any byte makes the connection useless, so that reading is as
// good as peeking.
func (c *http1Conn) lookAt(fd uintptr) bool {
	n, err := socket.Read(fd, c.lookBuf[:])
	c.silent = err == syscall.EAGAIN
	c.cameUnasked(n)
	return true
}

// ask sends head, in a borrowed buffer that it gives back, and waits for the beginning of the
// answer. A small request needs only one wait on the socket here: nothing can come unnoticed
// between check and write, and no buffer is held while it waits. The error is errStale if
// head was not sent because c was not alive.
func (c *http1Conn) ask(head []byte) (sent int, err error) {
	a := &c.asking
	a.looked, a.head, a.sent, a.err = !c.reused, head, 0, nil
	err = c.poll.Read(a.step)
	if a.err != nil {
		err = a.err
	}
	if a.head != nil { // It was not sent, or not at once.
		if err == nil {
			var n int
			n, err = c.Write(a.head[a.sent:])
			a.sent += n
		}
		c.pool.buffers.putHead(a.head)
		a.head = nil
	}
	return a.sent, err
}

// errStale: an idle connection can't be used again.
var errStale = errors.New("the peer has closed the connection")

// askStep does what ask does, as far as it can be done without waiting.
func (c *http1Conn) askStep(fd uintptr) (done bool) {
	a := &c.asking
	if !a.looked {
		a.looked = true
		if c.lookAt(fd); !c.silent {
			a.err = errStale
			return true
		}
	}
	if a.head != nil {
		n, err := socket.Write(fd, a.head)
		if a.sent = max(n, 0); a.sent < len(a.head) {
			if err != syscall.EAGAIN {
				a.err = os.NewSyscallError("write", err)
			}
			return true
		}
		c.pool.buffers.putHead(a.head)
		a.head = nil
		return false // Wait for the answer.
	}
	c.buf = c.pool.buffers.small()
	n, err := socket.Read(fd, c.buf)
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR:
		c.release()
		return false
	case err != nil:
		a.err = os.NewSyscallError("read", err)
	case n == 0:
		a.err = io.EOF
	default:
		c.w = n
	}
	return true
}
