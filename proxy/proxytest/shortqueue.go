package proxytest

import (
	"net"
	"syscall"
)

// ShortQueue listens on a free port of the loopback, with a listen queue of backlog
// connections: while it is full the kernel drops new ones.
func ShortQueue(backlog int) (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		return nil, err
	}
	if cerr := raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), backlog) }); cerr != nil {
		err = cerr
	}
	return l, err
}
