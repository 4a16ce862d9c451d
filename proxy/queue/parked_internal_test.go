package queue

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/wadi-run/wadi/proxy/parking"
)

// crowdedBy opens as many connections to p as make it park others.
func crowdedBy(t *testing.T, p *Proxy) {
	t.Helper()
	for range parking.Beyond {
		call(t, p)
	}
	soon(t, "crowded", func() bool { return p.conns.count() == parking.Beyond })
}

// A connection without a request costs the server nothing, and is served whatever
// it speaks.
func TestParked_BeforeTheFirstRequest(t *testing.T) {
	p := running(t, 0)
	crowdedBy(t, p)
	one, two, gone := call(t, p), call(t, p), call(t, p)
	soon(t, "parked", func() bool { return p.conns.parkedNow() == 3 })
	_ = gone.Close()
	soon(t, "rid of the one that has gone", func() bool { return p.conns.parkedNow() == 2 && p.conns.count() == parking.Beyond+2 })
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
	p.conns.mu.Lock()
	for c := range p.conns.open {
		if c.RemoteAddr().String() == old.LocalAddr().String() {
			c.since.Store(time.Now().Add(-idleTimeout).UnixNano())
		}
	}
	p.conns.mu.Unlock()
	p.conns.parked.Sweep()
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
	p.conns.parked.Fill()
	three := call(t, p)
	soon(t, "accepted", func() bool { return p.conns.count() == parking.Beyond+3 })
	for range 2 {
		for _, c := range []*caller{one, two, three} {
			c.ask("still served")
		}
		time.Sleep(2 * parking.After)
	}
	if got := p.conns.parkedNow(); got != 0 {
		t.Errorf("%d are parked, want none", got)
	}
}
