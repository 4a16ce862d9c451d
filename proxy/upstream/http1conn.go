package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wadi-run/wadi/proxy/list"
	"github.com/wadi-run/wadi/proxy/socket"
)

// Sizes of the buffers that connections are lent. An idle one has none.
const (
	smallBuffer = 4 << 10
	largeBuffer = 64 << 10
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

// buffered is what has come and is not taken.
func (c *http1Conn) buffered() []byte { return c.buf[c.r:c.w] }

// take takes n of the buffered bytes.
func (c *http1Conn) take(n int) { c.r += n }

// fill waits for more bytes, and makes the buffer larger if they have no place.
func (c *http1Conn) fill() error {
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	switch {
	case c.buf == nil:
		c.buf = c.pool.buffers.small()
	case c.w == len(c.buf) && c.r > 0:
		c.w = copy(c.buf, c.buffered())
		c.r = 0
	case c.w == len(c.buf):
		if !c.enlarge() {
			return malformed("a head beyond 64 KiB")
		}
	}
	n, err := c.Conn.Read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		return nil // An error comes again.
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// enlarge gives c the large buffer. False means that it has that already.
func (c *http1Conn) enlarge() bool {
	if len(c.buf) == largeBuffer {
		return false
	}
	c.replace(c.pool.buffers.large())
	return true
}

// widen gives c the large buffer, if there is one to spare.
func (c *http1Conn) widen() {
	if len(c.buf) == largeBuffer {
		return
	}
	if large, ok := c.pool.buffers.spare(); ok {
		c.replace(large)
	}
}

func (c *http1Conn) replace(large []byte) {
	c.w = copy(large, c.buffered())
	c.r = 0
	c.pool.buffers.put(c.buf)
	c.buf = large
}

// readHead reads the head of an answer.
func (c *http1Conn) readHead() error {
	looked := 0 // Of the buffered bytes: there is no end in them.
	for {
		end, next := headEnd(c.buffered(), looked)
		if end > 0 {
			head := string(c.buf[c.r : c.r+end])
			c.take(end)
			return c.head.parse(head)
		}
		looked = next
		if err := c.fill(); err != nil {
			return err
		}
	}
}

// headEnd returns where the empty line ends that ends the head in b; 0 if it has
// not come. Bytes before from have been looked at; next is where to look on.
func headEnd(b []byte, from int) (end, next int) {
	for {
		i := bytes.IndexByte(b[from:], '\n')
		if i < 0 {
			return 0, from
		}
		at := from + i
		rest := b[at+1:]
		switch {
		case len(rest) > 0 && rest[0] == '\n':
			return at + 2, 0
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return at + 3, 0
		case len(rest) == 0 || len(rest) == 1 && rest[0] == '\r':
			return 0, at
		}
		from = at + 1
	}
}

// release gives the buffer back. What is in it is lost.
func (c *http1Conn) release() {
	if c.buf != nil {
		c.pool.buffers.put(c.buf)
		c.buf, c.r, c.w = nil, 0, 0
	}
}

// maxLarge is how many large buffers are lent at once to those who could do with a
// small one: transfers, which may stall for as long as a request may take.
const maxLarge = 128

// buffers lends buffers of two sizes.
type buffers struct {
	smalls, larges sync.Pool
	lent           atomic.Int64 // Large ones.
}

func (b *buffers) small() []byte {
	if p, ok := b.smalls.Get().(*[smallBuffer]byte); ok {
		return p[:]
	}
	return make([]byte, smallBuffer)
}

// large is for what has no place in a small one.
func (b *buffers) large() []byte {
	b.lent.Add(1)
	if p, ok := b.larges.Get().(*[largeBuffer]byte); ok {
		return p[:]
	}
	return make([]byte, largeBuffer)
}

// spare is a large one, unless too many are lent.
func (b *buffers) spare() (large []byte, ok bool) {
	if b.lent.Load() >= maxLarge {
		return nil, false
	}
	return b.large(), true
}

// putHead takes a small one back, unless what was appended to it had no place there.
func (b *buffers) putHead(head []byte) {
	if cap(head) == smallBuffer {
		b.put(head)
	}
}

func (b *buffers) put(buf []byte) {
	switch cap(buf) {
	case smallBuffer:
		b.smalls.Put((*[smallBuffer]byte)(buf[:smallBuffer]))
	case largeBuffer:
		b.lent.Add(-1)
		b.larges.Put((*[largeBuffer]byte)(buf[:largeBuffer]))
	}
}
