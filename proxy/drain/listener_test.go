package drain_test

import (
	"io"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/wadi-run/wadi/proxy/drain"
)

// Who has a connection when nothing more is accepted is answered over it: callers who
// come all the time are served or not let in, and none is let in and then reset.
func TestListener_Drain(t *testing.T) {
	if !refusesNew(t) {
		t.Skip("this kernel is older than Linux 5.1: now and then one is let in and reset")
	}
	for range 40 {
		l, err := drain.Listen(t.Context(), "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var answered, lost atomic.Int64
		var callers, server sync.WaitGroup
		server.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					_ = l.Close() // As a server does.
					return
				}
				server.Go(func() {
					defer c.Close()
					var b [1]byte
					if _, err := io.ReadFull(c, b[:]); err == nil {
						_, _ = c.Write(b[:]) // Who called notices.
					}
				})
			}
		})
		for range 16 {
			callers.Go(func() {
				for {
					c, err := net.Dial("tcp", l.Addr().String())
					if err != nil {
						return // Not let in.
					}
					b := []byte{'?'}
					_, err = c.Write(b)
					if err == nil {
						_, err = io.ReadFull(c, b)
					}
					_ = c.Close()
					if err != nil {
						lost.Add(1)
						return
					}
					answered.Add(1)
				}
			})
		}
		for answered.Load() < 200 {
			time.Sleep(time.Millisecond)
		}
		l.Drain()
		server.Wait()
		callers.Wait()
		if n := lost.Load(); n > 0 {
			t.Fatalf("%d were let in and not answered", n)
		}
	}
}

// refusesNew reports whether the kernel has what [drain.Listener.Drain] needs.
func refusesNew(t *testing.T) bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, math.MaxInt32) == nil
}
