// Package framing checks where the requests on an HTTP/1 connection begin and end.
//
// net/http accepts input that other servers read differently, and hides it from the
// handler: it joins folded header lines, takes a bare LF for the end of a line, drops a
// Content-Length beside chunked, and drops Transfer-Encoding from an HTTP/1.0 request,
// whose body is then read as the next request. Request smuggling exploits such
// differences (RFC 9112, section 11.2).
//
// A [Conn] stands between the connection and a net/http server, and checks the bytes as
// the server reads them. It promises that the server sees the same requests with the
// same bodies as a strict reader of RFC 9112, and nothing of a request whose head is
// malformed: in place of the byte that may not pass, the server gets one that it refuses
// itself. So answers to earlier requests stay in order, the caller gets 400, and the
// connection ends. A malformed chunk or trailer is an error of reading the body.
//
// It buffers nothing but the beginning of an unfinished line, allocates nothing for a
// request, and does not check bodies. It refuses tunnels (CONNECT). It changes nothing
// that passes, and leaves to the server what the server refuses correctly: malformed
// Host values, and headers that are too large. HTTP/2 has a framing of its own and
// passes unchecked, where the listener allows it.
package framing

import (
	"net"
	"time"

	"github.com/wadi-run/wadi/proxy/socket"
)

// Config is what the connections of a listener have in common.
type Config struct {
	// HTTP2 lets HTTP/2 with prior knowledge pass. It must agree with the server's
	// setting: otherwise the two would disagree on where a request ends.
	HTTP2 bool

	// Refused, if set, is called for every refused request. It must not block.
	Refused func(Reason)

	// Silence is how long a connection may be silent before its first request; 0: the
	// server's own deadline holds. A net/http server counts the time for a request's
	// header from accepting the connection, and would close spare connections, such as
	// Envoy's, while a request is on its way.
	Silence time.Duration

	// Header is how long a request's header may take from its first byte on. The server
	// alone would let a connection with less than four bytes be idle. Required with
	// Silence.
	Header time.Duration
}

// Checker makes checked connections.
type Checker struct {
	cfg   Config
	lines lineBuffers
	calls socket.Calls
}

// New returns a Checker.
func New(cfg Config) *Checker {
	if cfg.Silence > 0 && cfg.Header <= 0 {
		panic("framing: Silence without Header") // A header could take as long as a silence.
	}
	return &Checker{cfg: cfg}
}

// Conn returns c with its requests checked. It keeps what the server needs of c: sendfile
// and splice toward a TCP connection, the descriptor, closing one half; and the TLS state
// of a tls.Conn, whose handshake must be over.
func (k *Checker) Conn(c net.Conn) net.Conn {
	switch t := c.(type) {
	case tlsConn:
		s := &secureConn{tls: t}
		s.init(k, c)
		return s
	case *net.TCPConn:
		s := &streamConn{tcp: t}
		s.init(k, k.calls.Conn(t))
		return s
	}
	s := &Conn{}
	s.init(k, c)
	return s
}

// Listen returns l with all its connections checked.
func Listen(l net.Listener, cfg Config) net.Listener {
	return &listener{Listener: l, checker: New(cfg)}
}

type listener struct {
	net.Listener
	checker *Checker
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.checker.Conn(c), nil
}
