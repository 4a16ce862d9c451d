package framing

import (
	"crypto/tls"
	"io"
	"net"
	"syscall"
)

// streamConn is a TCP connection.
type streamConn struct {
	Conn
	tcp *net.TCPConn
}

// ReadFrom lets the kernel copy from files and connections.
func (c *streamConn) ReadFrom(r io.Reader) (int64, error) { return c.tcp.ReadFrom(r) }

// WriteTo lets the kernel copy to connections, once nothing is checked any more.
func (c *streamConn) WriteTo(w io.Writer) (int64, error) {
	if c.requests.state != unchecked {
		return io.Copy(w, justReader{c})
	}
	n, err := w.Write(c.pending)
	c.pending = nil
	if err != nil {
		return int64(n), err
	}
	m, err := io.Copy(w, c.tcp)
	return int64(n) + m, err
}

// justReader hides the WriteTo of its reader.
type justReader struct{ io.Reader }

// CloseWrite closes the writing half.
func (c *streamConn) CloseWrite() error { return c.tcp.CloseWrite() }

// SyscallConn is the connection's descriptor, which must not be read from.
func (c *streamConn) SyscallConn() (syscall.RawConn, error) { return c.tcp.SyscallConn() }

// tlsConn is the part of a tls.Conn that a server uses.
type tlsConn interface {
	net.Conn
	ConnectionState() tls.ConnectionState
	CloseWrite() error
	NetConn() net.Conn
}

// secureConn is a TLS connection.
type secureConn struct {
	Conn
	tls tlsConn
}

// ConnectionState is the value of Request.TLS.
func (c *secureConn) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

// CloseWrite sends the end of the stream.
func (c *secureConn) CloseWrite() error { return c.tls.CloseWrite() }

// NetConn is the connection below, which must not be read from.
func (c *secureConn) NetConn() net.Conn { return c.tls.NetConn() }
