package socket

import "syscall"

// Peek returns how much there is to read from a connection, up to one byte, without
// reading it. It does not wait: 0 without an error is the end.
func Peek(conn syscall.RawConn) (n int, err error) {
	var b [1]byte
	if closed := conn.Control(func(fd uintptr) {
		n, _, err = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	}); closed != nil {
		return 0, closed
	}
	return max(n, 0), err
}
