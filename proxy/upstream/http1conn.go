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

// http1Conn is a connection to a peer, for one request at a time. It belongs to
// whoever took it; what the pool notes of it is guarded by the pool's mutex.
type http1Conn struct {
	net.Conn
	pool   *http1Pool
	tcp    *net.TCPConn // The same, if it is that.
	reused bool         // It has carried a request before.

	buf  []byte // Lent while an answer comes.
	r, w int    // What of it has come and is not taken: buf[r:w].
	head answerHead

	poll    syscall.RawConn // The socket; nil if there is none.
	look    func(fd uintptr) bool
	silent  bool // What look found: open, and nothing came.
	lookBuf [len(timedOut)]byte

	asking struct { // See ask.
		step   func(fd uintptr) bool
		looked bool
		head   []byte // Nil when it is sent.
		sent   int
		err    error
	}

	deadline    sync.Mutex // Guards these two, and the deadlines where a request may be ended.
	interrupted bool       // The request was ended: all reading and writing is to fail.
	lingering   bool       // It is over, and whoever would end it comes too late.

	// Guarded by the pool.
	idleSince time.Time
	ctx       context.Context       // Of the request, until it is watched.
	node      list.Node[*http1Conn] // Among those that are not watched yet.
	tick      uint64                // When it was taken, in ticks of the pool.
	stop      func() bool           // Ends the watching of the context; nil: it isn't watched.
	abort     func()                // Closes the connection; one for all requests.
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
		hc.poll, _ = s.SyscallConn() // Without, the connection is looked at in another way.
	}
	hc.look, hc.asking.step = hc.lookAt, hc.askStep
	return hc
}

// isAlive says whether the peer has neither closed an idle connection nor sent
// something that nobody asked for.
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

// timedOut is how many a server says goodbye to an idle connection.
const timedOut = "HTTP/1.1 408"

// cameUnasked notes that n bytes came which nobody asked for. The rest of an answer
// that is longer than it says is no way to say goodbye. Over TLS they are none of the
// protocol's: Wadi's own servers alone are asked in that way.
func (c *http1Conn) cameUnasked(n int) {
	if got := string(c.lookBuf[:max(n, 0)]); n > 0 && c.tcp != nil && got != timedOut && got != "HTTP/1.0 408" {
		c.pool.distrust()
	}
}

// lookAt reads without waiting. Whatever comes makes the connection useless, so
// that it may be read as well as looked at.
func (c *http1Conn) lookAt(fd uintptr) bool {
	n, err := socket.Read(fd, c.lookBuf[:])
	c.silent = err == syscall.EAGAIN
	c.cameUnasked(n)
	return true
}

// ask sends head, in a lent buffer that it gives back, and waits for the beginning
// of the answer. All that a small request does on a socket is one wait here: between
// it and the writing nothing can come unnoticed, and there is no buffer while it
// lasts. The error is errStale if head was not sent because c was not alive.
func (c *http1Conn) ask(head []byte) (sent int, err error) {
	a := &c.asking
	a.looked, a.head, a.sent, a.err = !c.reused, head, 0, nil
	err = c.poll.Read(a.step)
	if a.err != nil {
		err = a.err
	}
	if a.head != nil { // It did not go out, or not at once.
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

// errStale: a connection can't be used again.
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
		return false // The answer takes longer than this.
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
