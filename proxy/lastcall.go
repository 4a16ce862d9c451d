package proxy

import (
	"net"
	"syscall"
	"time"
)

// lastCallFor is for how long those are accepted still that have come.
const lastCallFor = 20 * time.Millisecond

// LastCall ends l's Accept with an error, once all connections have been accepted
// that have come: what waits in a listener's queue, perhaps with a request, is reset
// when it is closed. From the queue's end on callers wait for a place in it, and are
// refused when l is closed.
func LastCall(l *net.TCPListener) {
	if raw, err := l.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = syscall.Listen(int(fd), 0) }) // Else some are lost, as without.
	}
	_ = l.SetDeadline(time.Now().Add(lastCallFor)) // It fails on closed ones only.
}
