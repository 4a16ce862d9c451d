package upstream

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
)

// Sizes of the buffers that connections borrow, in bytes. An idle connection has none.
const (
	smallBuffer = 4 << 10
	largeBuffer = 64 << 10
)

// buffered is what has come and was not taken.
func (c *http1Conn) buffered() []byte { return c.buf[c.r:c.w] }

// take takes n of the buffered bytes.
func (c *http1Conn) take(n int) { c.r += n }

// fill waits for more bytes, and enlarges the buffer if it is full.
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
		return nil // The next read returns the error again.
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// enlarge gives c the large buffer. False: it has that already.
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
	looked := 0 // So many of the buffered bytes hold no end.
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

// headEnd returns the end of the head in b, after its empty line; 0 if that has not come.
// Bytes before from were searched already; next is where the search goes on.
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

// release gives the buffer back, and drops what is in it.
func (c *http1Conn) release() {
	if c.buf != nil {
		c.pool.buffers.put(c.buf)
		c.buf, c.r, c.w = nil, 0, 0
	}
}

// maxLarge bounds the large buffers lent at once to transfers, which also work with a small
// one and may stall for as long as a request may take.
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

// large is for what does not fit in a small one.
func (b *buffers) large() []byte {
	b.lent.Add(1)
	if p, ok := b.larges.Get().(*[largeBuffer]byte); ok {
		return p[:]
	}
	return make([]byte, largeBuffer)
}

// spare is a large buffer, unless too many are lent.
func (b *buffers) spare() (large []byte, ok bool) {
	if b.lent.Load() >= maxLarge {
		return nil, false
	}
	return b.large(), true
}

// putHead takes a small buffer back, unless append has replaced it with a larger one.
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
