//go:build !linux || race

// With the race detector the usual calls are made: they tell it that what was done
// before a byte was written is done before it is read.

package socket

import "syscall"

// Read reads from a socket that does not wait. P must not be empty. Where there is
// nothing it returns EAGAIN, at the end 0.
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

// Write does the same the other way. It may write less than p.
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
