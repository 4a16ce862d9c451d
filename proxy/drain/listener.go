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

// Listener is a TCP listener that can end without a loss. [Listen] makes one.
type Listener struct {
	*net.TCPListener
	last atomic.Bool
}

// Listen listens on address, a host:port.
func Listen(ctx context.Context, address string) (*Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err // It says "listen tcp" and the address.
	}
	return &Listener{TCPListener: l.(*net.TCPListener)}, nil
}

// lastCallFor is how long a handshake that had begun may take to be over.
const lastCallFor = 50 * time.Millisecond

// LastCall ends Accept with [os.ErrDeadlineExceeded], once all connections have been
// accepted whose callers have begun to make them: what waits in a listener's queue,
// perhaps with a request, is reset when it is closed. Who comes after that is refused.
func (l *Listener) LastCall() {
	if raw, err := l.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { refuseNew(int(fd)) }) // It fails on closed ones only.
	}
	l.last.Store(true)
	_ = l.SetDeadline(time.Now().Add(lastCallFor)) // So does this.
}

// Accept accepts the next connection.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		c, err := l.TCPListener.Accept()
		if err == nil || !l.last.Load() || !errors.Is(err, os.ErrDeadlineExceeded) || !l.waiting() {
			return c, err
		}
		_ = l.SetDeadline(time.Now().Add(lastCallFor)) // There was no time for all of them.
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

// refuseNew has the kernel find no listener for those who begin a handshake, while
// it completes those that have begun: it looks for one that is bound to no interface,
// or to the one that the packet came in by. There is none of this index, which nobody
// checks (sock_bindtoindex and inet_sk_bound_dev_eq in Linux, from 5.1).
//
// Before that there is no such way. Then the queue is made as short as it can be, which
// still lets one in, now and then after the last look at it.
func refuseNew(fd int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, math.MaxInt32) != nil {
		_ = unix.Listen(fd, 0) // Else some more are lost.
	}
}
