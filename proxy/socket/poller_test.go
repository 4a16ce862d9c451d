package socket_test

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/wadi-run/wadi/proxy/socket"
)

func TestPoller(t *testing.T) {
	p, err := socket.NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	const key = 7<<40 | 1<<31 | 3 // All of it comes back.
	near, far := pair(t)
	raw, err := near.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Add(raw, socket.Readable|socket.Ended, key); err != nil {
		t.Fatal(err)
	}
	var keys [4]uint64
	nothing := func(when string) {
		t.Helper()
		if n, err := p.Wait(keys[:], time.Now().Add(50*time.Millisecond)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %d events, %v, want none in time", when, n, err)
		}
	}
	something := func(when string) {
		t.Helper()
		if n, err := p.Wait(keys[:], time.Now().Add(time.Minute)); n != 1 || keys[0] != key || err != nil {
			t.Fatalf("%s: %d events, the first of %x, %v, want one of %x", when, n, keys[0], err, uint64(key))
		}
	}
	nothing("before a byte")
	go func() {
		time.Sleep(50 * time.Millisecond) // The wait has begun, mostly.
		_, _ = io.WriteString(far, "x")
	}()
	something("after a byte")
	something("before it is read") // A second wait returns what is still unread.
	if _, err := near.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	nothing("when it is read")
	_ = far.CloseWrite()
	something("after the end")
	if err := p.Remove(raw); err != nil {
		t.Fatal(err)
	}
	nothing("when it is removed")
	if err := p.Add(raw, socket.Readable|socket.Ended, key); err != nil {
		t.Fatal(err)
	}
	_ = near.Close()
	nothing("when it is closed")
	if err := p.Add(raw, socket.Readable|socket.Ended, key); !errors.Is(err, net.ErrClosed) {
		t.Errorf("to add a closed one: %v, want %v", err, net.ErrClosed)
	}
	ended := make(chan error)
	go func() {
		_, err := p.Wait(keys[:], time.Now().Add(time.Hour))
		ended <- err
	}()
	p.Close()
	select {
	case err := <-ended:
		if errors.Is(err, os.ErrDeadlineExceeded) || err == nil {
			t.Errorf("a wait in a closed one ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("a wait in a closed one goes on")
	}
}
