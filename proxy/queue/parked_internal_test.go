package queue

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"
)

// crowdedBy opens as many connections to p as make it park others.
func crowdedBy(t *testing.T, p *Proxy) {
	t.Helper()
	for range parkBeyond {
		call(t, p)
	}
	soon(t, "crowded", func() bool { return p.conns.count() == parkBeyond })
}

// The more there are the sooner.
func TestParkTime(t *testing.T) {
	for conns, want := range map[int64]time.Duration{
		0: parkAfter, parkBeyond: parkAfter, 2 * parkBeyond: parkAfter / 2, maxConns: parkAtLeast,
	} {
		if got := parkTime(conns); got != want {
			t.Errorf("%d connections: %v, want %v", conns, got, want)
		}
	}
}

// A connection without a request costs the server nothing, and is served whatever
// it speaks.
func TestParked_BeforeTheFirstRequest(t *testing.T) {
	p := running(t, 0)
	crowdedBy(t, p)
	one, two, gone := call(t, p), call(t, p), call(t, p)
	soon(t, "parked", func() bool { return p.conns.parkedNow() == 3 })
	_ = gone.Close()
	soon(t, "rid of the one that has gone", func() bool { return p.conns.parkedNow() == 2 && p.conns.count() == parkBeyond+2 })
	one.ask("HTTP/1")
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	h2 := &http.Transport{Protocols: &protocols, DialContext: func(context.Context, string, string) (net.Conn, error) { return two, nil }}
	defer h2.CloseIdleConnections()
	res, err := (&http.Client{Transport: h2}).Get("http://" + p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if _ = res.Body.Close(); res.StatusCode != http.StatusOK || res.ProtoMajor != 2 {
		t.Errorf("%s %d, want HTTP/2.0 200", res.Proto, res.StatusCode)
	}
	soon(t, "parked but for HTTP/2", func() bool { return p.conns.parkedNow() == 1 })
	one.ask("again")
}

func TestParked_NotForEver(t *testing.T) {
	p := running(t, 0)
	crowdedBy(t, p)
	old, young := call(t, p), call(t, p)
	old.ask("old")
	soon(t, "parked", func() bool { return p.conns.parkedNow() == 2 })
	p.conns.parked.mu.Lock()
	for _, c := range p.conns.parked.waits {
		if c.RemoteAddr().String() == old.LocalAddr().String() {
			c.since.Store(time.Now().Add(-idleTimeout).UnixNano())
		}
	}
	p.conns.parked.mu.Unlock()
	p.conns.parked.sweep()
	if _, err := old.answers.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("of the old one: %v, want its end", err)
	}
	young.ask("young")
}

// Where the kernel watches no more, the server does.
func TestParked_NoPoller(t *testing.T) {
	p := running(t, 0)
	crowdedBy(t, p)
	one, two := call(t, p), call(t, p)
	one.ask("one")
	soon(t, "parked", func() bool { return p.conns.parkedNow() == 2 })
	p.conns.parked.mu.Lock()
	p.conns.parked.none = true
	p.conns.parked.mu.Unlock()
	three := call(t, p)
	soon(t, "accepted", func() bool { return p.conns.count() == parkBeyond+3 })
	for range 2 {
		for _, c := range []*caller{one, two, three} {
			c.ask("still served")
		}
		time.Sleep(2 * parkAfter)
	}
	if got := p.conns.parkedNow(); got != 0 {
		t.Errorf("%d are parked, want none", got)
	}
}

// pair returns the two ends of a connection.
func pair(t *testing.T) (near, far *net.TCPConn) {
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
	d, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.Close(), d.Close() })
	return c.(*net.TCPConn), d.(*net.TCPConn)
}

func TestPoller(t *testing.T) {
	p, err := newPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	const key = 7<<40 | 1<<31 | 3 // All of it comes back.
	near, far := pair(t)
	raw, err := near.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.add(raw, key); err != nil {
		t.Fatal(err)
	}
	var keys [4]uint64
	nothing := func(when string) {
		t.Helper()
		if n, err := p.wait(keys[:], time.Now().Add(50*time.Millisecond)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %d events, %v, want none in time", when, n, err)
		}
	}
	something := func(when string) {
		t.Helper()
		if n, err := p.wait(keys[:], time.Now().Add(time.Minute)); n != 1 || keys[0] != key || err != nil {
			t.Fatalf("%s: %d events, the first of %x, %v, want one of %x", when, n, keys[0], err, uint64(key))
		}
	}
	nothing("before a byte")
	go func() {
		time.Sleep(50 * time.Millisecond) // The wait has begun, mostly.
		_, _ = io.WriteString(far, "x")
	}()
	something("after a byte")
	something("before it is read") // A second wait sees what the first left.
	if _, err := near.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	nothing("when it is read")
	_ = far.CloseWrite()
	something("after the end")
	if err := p.remove(raw); err != nil {
		t.Fatal(err)
	}
	nothing("when it is removed")
	if err := p.add(raw, key); err != nil {
		t.Fatal(err)
	}
	_ = near.Close()
	nothing("when it is closed")
	if err := p.add(raw, key); !errors.Is(err, net.ErrClosed) {
		t.Errorf("to add a closed one: %v, want %v", err, net.ErrClosed)
	}
	ended := make(chan error)
	go func() {
		_, err := p.wait(keys[:], time.Now().Add(time.Hour))
		ended <- err
	}()
	p.close()
	select {
	case err := <-ended:
		if errors.Is(err, os.ErrDeadlineExceeded) || err == nil {
			t.Errorf("a wait in a closed one ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("a wait in a closed one goes on")
	}
}
