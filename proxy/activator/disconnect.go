package activator

import (
	"context"
	"net"
	"net/http"
	"syscall"

	"golang.org/x/sys/unix"
)

// connKey is the context's key of a request's connection.
type connKey struct{}

// ConnContext is for the servers in front of the activator: with it, a request leaves the
// queue soon after its client has gone even if it has a body. While a body is unread
// net/http doesn't check the connection.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok { // TLS.
		c = t.NetConn()
	}
	sc, ok := c.(syscall.Conn)
	if !ok {
		return ctx
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, connKey{}, raw)
}

// unwatched returns the connection of r if net/http doesn't watch it, and nil if it does.
func unwatched(r *http.Request) syscall.RawConn {
	if r.ProtoMajor != 1 || r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	raw, _ := r.Context().Value(connKey{}).(syscall.RawConn)
	return raw
}

// disconnected reports whether the peer of c has closed its side. It reads nothing.
func disconnected(c syscall.RawConn) bool {
	closed := false
	err := c.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(fds, 0)
		closed = err == nil && n > 0 && fds[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0
	})
	return err != nil || closed
}
