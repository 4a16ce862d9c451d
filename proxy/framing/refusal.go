package framing

import (
	"io"
	"net"
	"syscall"
)

// poison is refused by net/http anywhere but among a body's own bytes: no line of a head
// may have a NUL, and none around a chunk a bare LF. The line ends are for a server that
// waits for them.
const poison = "\x00\n\r\n\r\n"

// refuse ends the stream of requests after n bytes of p.
func (c *Conn) refuse(p []byte, n int, why Reason) (int, error) {
	c.requests.drop()
	c.pending = nil
	c.refused.Store(uint32(why))
	if c.checker.cfg.Refused != nil {
		c.checker.cfg.Refused(why)
	}
	c.poison = poison
	m, err := c.readPoison(p[n:])
	return n + m, err
}

// readPoison gives the server input that it refuses, and nothing after that. An error
// instead would mean that the caller has gone.
func (c *Conn) readPoison(p []byte) (int, error) {
	if c.poison == "" {
		return 0, &Error{c.Refused()} // net/http reads no more.
	}
	n := copy(p, c.poison)
	c.poison = c.poison[n:]
	return n, nil
}

// plainRefusal is net/http's answer to unreadable input, in one write.
const plainRefusal = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request"

// The begin of plainRefusal, and of the answer that replaces it.
const (
	statusLine  = "HTTP/1.1 400 Bad Request\r\n"
	refusalLine = statusLine + "Wadi-Error: malformed\r\n"
)

// Write writes, and adds Wadi-Error and the reason to the server's refusal.
func (c *Conn) Write(p []byte) (int, error) {
	if c.Refused() == None || string(p) != plainRefusal {
		return c.Conn.Write(p)
	}
	if _, err := io.WriteString(c.Conn, refusalLine+plainRefusal[len(statusLine):]+": "+c.Refused().Text()+"\n"); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close closes the connection. After a refusal it first reads what has come: closing a
// connection with unread bytes resets it, and the refusal would be lost.
func (c *Conn) Close() error {
	if c.closed.CompareAndSwap(false, true) && c.Refused() != None {
		discard(c.Conn)
	}
	return c.Conn.Close()
}

// discard reads what has come by now, up to 256 KiB. It does not wait.
func discard(c net.Conn) {
	if t, ok := c.(tlsConn); ok {
		c = t.NetConn()
	}
	s, ok := c.(syscall.Conn)
	if !ok {
		return
	}
	fd, err := s.SyscallConn()
	if err != nil {
		return
	}
	_ = fd.Control(func(fd uintptr) { // A failure loses nothing.
		var buf [4 << 10]byte
		for range 64 {
			if n, err := syscall.Read(int(fd), buf[:]); n <= 0 || err != nil {
				return
			}
		}
	})
}
