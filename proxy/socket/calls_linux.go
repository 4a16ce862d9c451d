//go:build !race

package socket

import (
	"syscall"
	"unsafe"
)

// Read reads from a socket that does not wait, without telling the scheduler. P must
// not be empty, nor longer than [Most]. Where there is nothing it returns EAGAIN, at
// the end 0.
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

// Write does the same the other way. It may write less than p.
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
