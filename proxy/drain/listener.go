package drain

import (
	"context"
	"errors"
	"math"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Listener is a TCP listener that can be drained. [Listen] makes one.
type Listener struct {
	*net.TCPListener
	draining atomic.Bool
}

// Listen listens on address, a host:port.
func Listen(ctx context.Context, address string) (*Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err // Its text has "listen tcp" and the address.
	}
	return &Listener{TCPListener: l.(*net.TCPListener)}, nil
}

// handshakeTime is how long a handshake that has begun may take.
const handshakeTime = 50 * time.Millisecond

// Drain ends Accept with [os.ErrDeadlineExceeded] once all connections that callers have
// begun to open are accepted. Closing a listener would reset those in its queue, some with a
// request. New connections are refused.
func (l *Listener) Drain() {
	if raw, err := l.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { refuseNew(int(fd)) }) // It fails on closed ones only.
	}
	l.draining.Store(true)
	_ = l.SetDeadline(time.Now().Add(handshakeTime)) // So does this.
}

// Accept accepts the next connection.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		c, err := l.TCPListener.Accept()
		if err == nil || !l.draining.Load() || !errors.Is(err, os.ErrDeadlineExceeded) || !l.waiting() {
			return c, err
		}
		_ = l.SetDeadline(time.Now().Add(handshakeTime)) // The time was too short for all of them.
	}
}

// waiting reports whether there are connections to accept.
func (l *Listener) waiting() (some bool) {
	raw, err := l.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) { // It fails on closed ones.
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		some = err == nil && n > 0
	})
	return some
}

// refuseNew makes the kernel find no listener for new handshakes, while it completes those
// that have begun: it looks for a listener that is bound to no interface, or to the packet's
// interface. No interface has this index, which is not checked (sock_bindtoindex and
// inet_sk_bound_dev_eq in Linux, from 5.1).
//
// Older kernels have no such way. There the queue is made as short as possible, which still
// lets one connection in, sometimes after the last check.
func refuseNew(fd int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, math.MaxInt32) != nil {
		_ = unix.Listen(fd, 0) // Else more connections are lost.
	}
}
