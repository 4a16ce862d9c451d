package queue

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// poller waits for many connections, with one goroutine for all of them. Those of the
// runtime's poller take one each, with its stack.
type poller struct {
	file *os.File // The runtime waits for it as for any other file.
	raw  syscall.RawConn
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a poller: %w", err)
	}
	_ = unix.SetNonblock(fd, true) // Else it has no deadlines, and the next but one fails.
	p := &poller{file: os.NewFile(uintptr(fd), "epoll")}
	if p.raw, err = p.file.SyscallConn(); err == nil {
		err = p.file.SetReadDeadline(time.Time{})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a poller: %w", err), p.file.Close())
	}
	return p, nil
}

// add has wait tell of token for as long as there is something to read from a
// connection, or its peer has gone. What is closed is forgotten.
func (p *poller) add(conn syscall.RawConn, token uint64) error {
	return p.control(conn, unix.EPOLL_CTL_ADD, &unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(uint32(token)), Pad: int32(uint32(token >> 32)),
	})
}

func (p *poller) remove(conn syscall.RawConn) error {
	return p.control(conn, unix.EPOLL_CTL_DEL, nil)
}

func (p *poller) control(conn syscall.RawConn, op int, e *unix.EpollEvent) (err error) {
	outer := p.raw.Control(func(epoll uintptr) {
		inner := conn.Control(func(fd uintptr) { err = unix.EpollCtl(int(epoll), op, int(fd), e) })
		err = errors.Join(err, inner)
	})
	return errors.Join(err, outer)
}

// wait waits for some of the connections. It ends with [os.ErrDeadlineExceeded] at
// a time, and when the poller is closed.
func (p *poller) wait(tokens []uint64, until time.Time) (n int, err error) {
	if err := p.file.SetReadDeadline(until); err != nil {
		return 0, err
	}
	var events [64]unix.EpollEvent
	got := 0
	err = p.raw.Read(func(fd uintptr) bool {
		for {
			got, _ = unix.EpollWait(int(fd), events[:min(len(events), len(tokens))], 0) // It fails for a signal only.
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

func (p *poller) close() { _ = p.file.Close() } // Nothing was written.
