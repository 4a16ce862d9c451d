package queue

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
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
