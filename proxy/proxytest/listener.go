// Package proxytest is for tests of servers and their callers. It has servers and clients,
// connections that are pipes in memory, on which a bubble of testing/synctest can wait, and
// a table of request smuggling attacks. It promises to end with the test, and is never
// linked into a command.
package proxytest

import (
	"context"
	"net"
	"sync"
	"syscall"
)

// Listener is a [net.Listener] whose connections come from its own Dial.
type Listener struct {
	conns chan net.Conn
	done  chan struct{}
	close func()
}

var _ net.Listener = (*Listener)(nil)

// Listen returns a listener. In a bubble, it must be made in the bubble.
func Listen() *Listener {
	l := &Listener{conns: make(chan net.Conn), done: make(chan struct{})}
	l.close = sync.OnceFunc(func() { close(l.done) })
	return l
}

// Dial connects to the listener, once it accepts. A closed listener refuses.
func (l *Listener) Dial(ctx context.Context) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.done:
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept returns the other end of the next dialled connection.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and Dial; connections stay.
func (l *Listener) Close() error {
	l.close()
	return nil
}

// Addr is an address without meaning.
func (l *Listener) Addr() net.Addr { return &net.TCPAddr{} }
