// Package socket reads and writes TCP connections as package net does, at less cost.
//
// Package net announces every system call to the scheduler, as a call may block its thread
// and another thread then has to run the waiting goroutines. Reading and writing a TCP
// connection never blocks, as package net makes its sockets non-blocking. But where threads
// share cores a call is often interrupted, by the very process that it has woken, and the
// scheduler takes it for a blocked one: two threads are switched each time, and a thread
// that watches for such calls runs every 20 µs. That is a sixth of what a small request
// costs in a proxy.
//
// It promises the errors of package net, with deadlines and closing. It never moves more
// than [MaxBytes] bytes unannounced, which could take long.
package socket

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// MaxBytes bounds the bytes of an unannounced call; longer ones go through package net.
const MaxBytes = 64 << 10

// Calls is shared by connections. Its zero value is ready.
type Calls struct{ free sync.Pool }

// Conn returns c with cheaper reading and writing.
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
	raw   syscall.RawConn // Nil: all calls go through package net.
	calls *Calls
}

var _ net.Conn = (*Conn)(nil)

// Read reads what has come, or waits for it.
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

// Write writes all of p, or returns an error.
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

// failed returns the error that package net has for a failed call.
func (c *Conn) failed(call string, err error) error {
	return &net.OpError{Op: call, Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError(call, err)}
}

// withOp gives the error of a descriptor the operation of a connection's error.
func withOp(err error, call string) error {
	if e, ok := err.(*net.OpError); ok {
		e.Op = call // The error was made for this call.
	}
	return err
}

// op is one read or write. Only connections with a call in progress have an op.
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

// tryRead reads what has come. It is not done if there is nothing.
func (o *op) tryRead(fd uintptr) bool {
	o.n, o.err = Read(fd, o.p)
	return o.err != syscall.EAGAIN
}

// tryWrite writes as much as the socket takes. It is not done if some is left.
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
