package socket_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wadi-run/wadi/proxy/socket"
)

const patience = time.Minute

// pair returns both ends of a connection; the first is a [socket.Conn].
func pair(t *testing.T) (ours *socket.Conn, peer *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	p, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.Close(), p.Close() })
	for _, end := range []net.Conn{c, p} {
		if err := end.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
	}
	return new(socket.Calls).Conn(c.(*net.TCPConn)), p.(*net.TCPConn)
}

func TestConn_ReadWaits(t *testing.T) {
	c, peer := pair(t)
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() {
		time.Sleep(10 * time.Millisecond) // So that the other side waits; otherwise less is tested.
		_, _ = peer.Write([]byte("hello"))
		_ = peer.CloseWrite()
	})
	b := make([]byte, 3)
	var got []byte
	for {
		n, err := c.Read(b)
		got = append(got, b[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if string(got) != "hello" {
		t.Errorf("got %q, want hello", got)
	}
}

// A writer waits for a peer that reads slowly, and nothing is lost or said twice.
// Pieces of all sizes, also those that go through package net.
func TestConn_WriteWaits(t *testing.T) {
	c, peer := pair(t)
	want := make([]byte, 24<<20)
	for i := range want {
		want[i] = byte(i * i >> 8)
	}
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() {
		for left, size := want, 1; len(left) > 0; size = size*3 + 1 {
			if size > 2*socket.MaxBytes {
				size = 1000
			}
			n, err := c.Write(left[:min(size, len(left))])
			if err != nil || n != min(size, len(left)) {
				t.Errorf("wrote %d, %v", n, err)
				break
			}
			left = left[n:]
		}
		_ = c.CloseWrite()
	})
	time.Sleep(50 * time.Millisecond) // For its buffers to be full.
	got, err := io.ReadAll(peer)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, %v, want %d, the same", len(got), err, len(want))
	}
}

// Errors are those of package net.
func TestConn_Errors(t *testing.T) {
	full := make([]byte, socket.MaxBytes)
	for name, tt := range map[string]struct {
		do   func(c *socket.Conn, peer *net.TCPConn) error
		want error
		op   string
		late bool
	}{
		"reading is too late": {func(c *socket.Conn, _ *net.TCPConn) error {
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			_, err := c.Read(make([]byte, 1))
			return err
		}, os.ErrDeadlineExceeded, "read", true},
		"reading is interrupted": {func(c *socket.Conn, _ *net.TCPConn) error {
			time.AfterFunc(10*time.Millisecond, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
			_, err := c.Read(make([]byte, 1))
			return err
		}, os.ErrDeadlineExceeded, "read", true},
		"writing is too late": {func(c *socket.Conn, _ *net.TCPConn) error {
			_ = c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
			for {
				if _, err := c.Write(full); err != nil {
					return err
				}
			}
		}, os.ErrDeadlineExceeded, "write", true},
		"read after close": {func(c *socket.Conn, _ *net.TCPConn) error {
			_ = c.Close()
			_, err := c.Read(make([]byte, 1))
			return err
		}, net.ErrClosed, "read", false},
		"closed while reading": {func(c *socket.Conn, _ *net.TCPConn) error {
			time.AfterFunc(10*time.Millisecond, func() { _ = c.Close() })
			_, err := c.Read(make([]byte, 1))
			return err
		}, net.ErrClosed, "read", false},
		"write after close": {func(c *socket.Conn, _ *net.TCPConn) error {
			_ = c.Close()
			_, err := c.Write(full)
			return err
		}, net.ErrClosed, "write", false},
		"reset while reading": {func(c *socket.Conn, peer *net.TCPConn) error {
			_ = peer.SetLinger(0)
			_ = peer.Close()
			_, err := c.Read(make([]byte, 1))
			return err
		}, syscall.ECONNRESET, "read", false},
		"write to nobody": {func(c *socket.Conn, peer *net.TCPConn) error {
			_ = peer.SetLinger(0)
			_ = peer.Close()
			_, _ = c.Read(make([]byte, 1)) // It takes the error of the reset.
			_, err := c.Write(full)
			return err
		}, syscall.EPIPE, "write", false},
	} {
		t.Run(name, func(t *testing.T) {
			c, peer := pair(t)
			err := tt.do(c, peer)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			e, ok := err.(*net.OpError)
			if !ok || e.Op != tt.op || e.Net != "tcp" || e.Timeout() != tt.late || e.Addr.String() != c.RemoteAddr().String() {
				t.Errorf("got %#v, want a *net.OpError of %s", err, tt.op)
			}
		})
	}
}

// Write returns the bytes that were written before the deadline.
func TestConn_WritesInPart(t *testing.T) {
	c, peer := pair(t)
	_ = c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	full, sent := make([]byte, socket.MaxBytes), 0
	for {
		n, err := c.Write(full)
		sent += n
		if err != nil {
			break
		}
	}
	_ = c.CloseWrite()
	if got, err := io.Copy(io.Discard, peer); err != nil || got != int64(sent) {
		t.Errorf("got %d, %v, want %d, which were written", got, err, sent)
	}
}

func TestConn_Nothing(t *testing.T) {
	c, _ := pair(t)
	if n, err := c.Write(nil); n != 0 || err != nil {
		t.Errorf("wrote %d, %v", n, err)
	}
	if n, err := c.Read(nil); n != 0 || err != nil {
		t.Errorf("read %d, %v", n, err)
	}
}
