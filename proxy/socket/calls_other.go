//go:build !linux || race

// With the race detector the calls are package syscall's, which order what happens before a
// byte is written and after it is read.

package socket

import "syscall"

// Read reads from a non-blocking socket. P must not be empty. It returns EAGAIN if there is
// nothing, and 0 at the end.
func Read(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), p)
		if err == nil {
			return n, nil
		}
		if err != syscall.EINTR {
			return 0, err
		}
	}
}

// Write writes to a non-blocking socket. It may write less than p.
func Write(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Write(int(fd), p)
		if err == nil {
			return n, nil
		}
		if err != syscall.EINTR {
			return 0, err
		}
	}
}
