// Package framing checks where the requests on an HTTP/1 connection begin and end.
//
// net/http forgives what others read differently, and a handler can't see it any
// more: it joins folded header lines, takes a bare LF for the end of a line, drops a
// Content-Length beside chunked, and drops Transfer-Encoding from an HTTP/1.0
// request whose body is the next request then. Of such differences request smuggling
// is made (RFC 9112, section 11.2).
//
// A [Conn] stands between the connection and a net/http server and looks at the bytes
// as the server reads them. It promises that the server sees the same requests with
// the same bodies as a strict reader of RFC 9112 does, and nothing of a request whose
// head is malformed: in place of the byte that may not pass, the server gets one that
// it refuses itself. So answers to requests that came before stay in order, the
// caller gets 400, and the connection ends. A malformed chunk or trailer is an error to
// who reads the body.
//
// It buffers nothing but the beginning of an unfinished line, allocates nothing for
// a request, and does not look at bodies. It refuses tunnels (CONNECT). It changes
// nothing of what passes, and leaves to the server what that refuses as it should:
// malformed Host values, headers that are too large. HTTP/2 has a framing of its own
// and passes unchecked, where the listener lets it.
package framing

import (
	"net"
	"sync/atomic"
	"time"

	"github.com/wadi-run/wadi/proxy/socket"
)

// Config is what the connections of a listener have in common.
type Config struct {
	// HTTP2 lets HTTP/2 with prior knowledge pass. It must say what the server
	// does: else the two would disagree on where a request ends.
	HTTP2 bool

	// Refused, if set, is told of every request that is refused. It must not block.
	Refused func(Reason)

	// Silence is how long a connection may be silent before its first request; 0: as
	// long as the server says. A net/http server counts the time for a request's
	// header from when it accepts the connection, and callers that keep spare ones,
	// as Envoy does, put a request on one at the moment when it is closed.
	Silence time.Duration

	// Header is how long a request's header may take from its first byte on, whatever
	// the server says: that lets a connection be idle until it has four bytes. Silence
	// needs it.
	Header time.Duration

	// MaxConns bounds the open connections of a listener, upgraded ones included;
	// others wait to be accepted. 0 is no bound.
	MaxConns int
}

// Checker makes connections that are checked.
type Checker struct {
	cfg   Config
	lines lineBuffers
	calls socket.Calls
}

// New returns a Checker. MaxConns is for [Listen] alone.
func New(cfg Config) *Checker {
	if cfg.Silence > 0 && cfg.Header <= 0 {
		panic("framing: Silence without Header") // A header could take as long.
	}
	return &Checker{cfg: cfg}
}

// Conn returns c with its requests checked. Closed, if not nil, is called once when
// it is closed. What the server needs of c stays: sendfile and splice toward a TCP
// connection, its descriptor, closing one half; the TLS state of a tls.Conn whose
// handshake is over.
func (k *Checker) Conn(c net.Conn, closed func()) net.Conn {
	switch t := c.(type) {
	case tlsConn:
		s := &secureConn{tls: t}
		s.init(k, c, closed)
		return s
	case *net.TCPConn:
		s := &streamConn{tcp: t}
		s.init(k, k.calls.Conn(t), closed)
		return s
	}
	s := &Conn{}
	s.init(k, c, closed)
	return s
}

// Listen returns l with all its connections checked.
func Listen(l net.Listener, cfg Config) net.Listener {
	out := &listener{Listener: l, checker: New(cfg), done: make(chan struct{})}
	if cfg.MaxConns > 0 {
		out.places = make(chan struct{}, cfg.MaxConns)
	}
	return out
}

type listener struct {
	net.Listener
	checker *Checker
	places  chan struct{} // One of each open connection; nil: as many as come.
	closed  atomic.Bool
	done    chan struct{} // Closed with the listener.
}

// Accept waits for a place, then for a connection.
func (l *listener) Accept() (net.Conn, error) {
	var leave func()
	if l.places != nil {
		select {
		case l.places <- struct{}{}:
		case <-l.done:
			return nil, net.ErrClosed
		}
		leave = func() { <-l.places }
	}
	c, err := l.Listener.Accept()
	if err != nil {
		if leave != nil {
			leave()
		}
		return nil, err
	}
	return l.checker.Conn(c, leave), nil
}

func (l *listener) Close() error {
	if l.closed.CompareAndSwap(false, true) {
		close(l.done)
	}
	return l.Listener.Close()
}

var _ net.Listener = (*listener)(nil)
