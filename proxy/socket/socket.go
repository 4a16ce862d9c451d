// Package socket reads and writes TCP connections as package net does, at less cost.
//
// Package net tells the scheduler of every call into the kernel, as one may take
// long: then another thread has to go on with the goroutines that wait for this one.
// Reading and writing a TCP connection never takes long, for package net has made it
// one that does not wait: who would have to wait is told so. But where threads share
// cores a call is often interrupted, by the very process that it has woken, and the
// scheduler takes that for a long one: each time two threads change places, and one
// that looks for such calls runs every 20 µs. That is a sixth of what a small request
// costs in a proxy.
//
// It promises the errors of package net, deadlines and closing included. It refuses to
// move more than [Most] bytes without telling: that could take long.
package socket

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// MaxBytes is how much is read or written at once in this way; more goes the usual one.
const MaxBytes = 64 << 10

// Calls is what connections have in common. Its zero value is ready.
type Calls struct{ free sync.Pool }

// Conn returns c, whose reading and writing costs less.
func (s *Calls) Conn(c *net.TCPConn) *Conn {
	raw, err := c.SyscallConn()
	if err != nil {
		raw = nil
	}
	return &Conn{c, raw, s}
}

// Conn is a TCP connection.
type Conn struct {
	*net.TCPConn
	raw   syscall.RawConn // Nil: there is none, and all goes the usual way.
	calls *Calls
}

var _ net.Conn = (*Conn)(nil)

// Read reads what there is, or waits for it.
func (c *Conn) Read(p []byte) (int, error) {
	if c.raw == nil || len(p) == 0 || len(p) > MaxBytes {
		return c.TCPConn.Read(p)
	}
	o := c.calls.begin(p)
	err := c.raw.Read(o.read)
	n, failed := c.calls.end(o)
	switch {
	case err != nil:
		return 0, withOp(err, "read")
	case failed != nil:
		return 0, c.failed("read", failed)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write writes all of p, unless it says why not.
func (c *Conn) Write(p []byte) (int, error) {
	if c.raw == nil || len(p) == 0 || len(p) > MaxBytes {
		return c.TCPConn.Write(p)
	}
	o := c.calls.begin(p)
	err := c.raw.Write(o.write)
	n, failed := c.calls.end(o)
	switch {
	case err != nil:
		return n, withOp(err, "write")
	case failed != nil:
		return n, c.failed("write", failed)
	}
	return n, nil
}

// failed is the error of a call, as package net has it.
func (c *Conn) failed(call string, err error) error {
	return &net.OpError{Op: call, Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError(call, err)}
}

// withOp gives the error of a descriptor the name that a connection's has.
func withOp(err error, call string) error {
	if e, ok := err.(*net.OpError); ok {
		e.Op = call // It is ours: made for this call.
	}
	return err
}

// op is one reading or writing. Those that wait for a peer hold one, not every
// connection.
type op struct {
	p   []byte
	n   int   // Bytes moved.
	err error // The kernel's.

	read, write func(fd uintptr) (done bool)
}

func (s *Calls) begin(p []byte) *op {
	o, ok := s.free.Get().(*op)
	if !ok {
		o = &op{}
		o.read, o.write = o.tryRead, o.tryWrite
	}
	o.p, o.n, o.err = p, 0, nil
	return o
}

func (s *Calls) end(o *op) (n int, err error) {
	n, err = o.n, o.err
	o.p = nil
	s.free.Put(o)
	return n, err
}

// tryRead reads what there is. It is not done if nothing is.
func (o *op) tryRead(fd uintptr) bool {
	o.n, o.err = Read(fd, o.p)
	return o.err != syscall.EAGAIN
}

// tryWrite writes as much as goes. It is not done if some is left.
func (o *op) tryWrite(fd uintptr) bool {
	for o.n < len(o.p) {
		n, err := Write(fd, o.p[o.n:])
		if err == syscall.EAGAIN {
			return false
		}
		if err != nil {
			o.err = err
			return true
		}
		o.n += n
	}
	return true
}
