//go:build !race

package socket

import (
	"syscall"
	"unsafe"
)

// Read reads from a non-blocking socket, unannounced to the scheduler. P must not be empty,
// nor longer than [MaxBytes]. It returns EAGAIN if there is nothing, and 0 at the end.
func Read(fd uintptr, p []byte) (int, error) {
	for {
		n, _, err := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		if err == 0 {
			return int(n), nil
		}
		if err != syscall.EINTR {
			return 0, err
		}
	}
}

// Write writes to a non-blocking socket in the same way. It may write less than p.
func Write(fd uintptr, p []byte) (int, error) {
	for {
		n, _, err := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		if err == 0 {
			return int(n), nil
		}
		if err != syscall.EINTR {
			return 0, err
		}
	}
}
