package socket

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Poller waits for events on many connections, with one goroutine for all of them. Waiting
// by package net takes a goroutine with its stack for each. [NewPoller] makes one.
type Poller struct {
	file *os.File // The runtime waits for it as for any other file.
	raw  syscall.RawConn
}

// NewPoller returns a poller that waits for nothing yet.
func NewPoller() (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a poller: %w", err)
	}
	_ = unix.SetNonblock(fd, true) // Without it there are no deadlines, and SetReadDeadline fails.
	p := &Poller{file: os.NewFile(uintptr(fd), "epoll")}
	if p.raw, err = p.file.SyscallConn(); err == nil {
		err = p.file.SetReadDeadline(time.Time{})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a poller: %w", err), p.file.Close())
	}
	return p, nil
}

// The events of a poller: there is something to read from a connection, or its peer has
// closed its writing half. A broken connection is always an event.
const (
	Readable = unix.EPOLLIN
	Ended    = unix.EPOLLRDHUP
)

// Add has Wait return token while one of events holds for conn. A closed connection is
// removed by itself.
func (p *Poller) Add(conn syscall.RawConn, events uint32, token uint64) error {
	return p.control(conn, unix.EPOLL_CTL_ADD, &unix.EpollEvent{
		Events: events, Fd: int32(uint32(token)), Pad: int32(uint32(token >> 32)),
	})
}

// Remove ends the waiting for conn.
func (p *Poller) Remove(conn syscall.RawConn) error {
	return p.control(conn, unix.EPOLL_CTL_DEL, nil)
}

func (p *Poller) control(conn syscall.RawConn, op int, e *unix.EpollEvent) (err error) {
	outer := p.raw.Control(func(epoll uintptr) {
		inner := conn.Control(func(fd uintptr) { err = unix.EpollCtl(int(epoll), op, int(fd), e) })
		err = errors.Join(err, inner)
	})
	return errors.Join(err, outer)
}

// Wait waits for events, and returns how many tokens it has stored. It fails with
// [os.ErrDeadlineExceeded] at until, and with another error when the poller is closed.
func (p *Poller) Wait(tokens []uint64, until time.Time) (n int, err error) {
	if err := p.file.SetReadDeadline(until); err != nil {
		return 0, err
	}
	var events [64]unix.EpollEvent
	got := 0
	err = p.raw.Read(func(fd uintptr) bool {
		for {
			got, _ = unix.EpollWait(int(fd), events[:min(len(events), len(tokens))], 0) // Only a signal makes it fail.
			if got >= 0 {
				return got > 0
			}
		}
	})
	for i, e := range events[:max(got, 0)] {
		tokens[i] = uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32
	}
	return max(got, 0), err
}

// Close ends Wait.
func (p *Poller) Close() { _ = p.file.Close() } // Nothing was written.
