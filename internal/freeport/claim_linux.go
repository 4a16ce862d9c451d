package freeport

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// claim reports whether the port belongs to this process from now on. The mark is the name
// of a socket in the abstract namespace: the kernel gives each name to one process, and
// frees it when the process ends in whatever way.
func claim(port int) bool {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("@wadi-port-%d", port)}); err != nil {
		_ = unix.Close(fd) // Nothing was written.
		return false
	}
	return true // The descriptor stays open on purpose.
}
