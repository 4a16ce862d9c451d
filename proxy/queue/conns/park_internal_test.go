package conns

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

// crowd opens as many connections to s as make it park others.
func crowd(t *testing.T, s *server) {
	t.Helper()
	for range parking.Threshold {
		dial(t, s)
	}
	eventually(t, "crowded", func() bool { return s.l.Len() == parking.Threshold })
}

// A connection without a request costs the server nothing, and is served whatever
// protocol it speaks.
func TestParked_BeforeTheFirstRequest(t *testing.T) {
	s := serve(t, 0)
	crowd(t, s)
	one, two, gone := dial(t, s), dial(t, s), dial(t, s)
	eventually(t, "parked", func() bool { return s.l.lot.Len() == 3 })
	_ = gone.Close()
	eventually(t, "without the connection that was closed", func() bool { return s.l.lot.Len() == 2 && s.l.Len() == parking.Threshold+2 })
	one.ask("HTTP/1")
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	h2 := &http.Transport{Protocols: &protocols, DialContext: func(context.Context, string, string) (net.Conn, error) { return two, nil }}
	defer h2.CloseIdleConnections()
	res, err := (&http.Client{Transport: h2}).Get("http://" + s.l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _ = res.Body.Close(); res.StatusCode != http.StatusOK || res.ProtoMajor != 2 {
		t.Errorf("%s %d, want HTTP/2.0 200", res.Proto, res.StatusCode)
	}
	eventually(t, "parked but for HTTP/2", func() bool { return s.l.lot.Len() == 1 })
	one.ask("again")
}

func TestParked_NotForEver(t *testing.T) {
	s := serve(t, 0)
	crowd(t, s)
	old, young := dial(t, s), dial(t, s)
	old.ask("old")
	eventually(t, "parked", func() bool { return s.l.lot.Len() == 2 })
	s.l.mu.Lock()
	for c := range s.l.open {
		if c.RemoteAddr().String() == old.LocalAddr().String() {
			c.since.Store(time.Now().Add(-IdleTimeout).UnixNano())
		}
	}
	s.l.mu.Unlock()
	s.l.lot.Sweep()
	if _, err := old.answers.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("of the old one: %v, want its end", err)
	}
	young.ask("young")
}

// Where the kernel watches no more connections, the server waits for them.
func TestParked_NoPoller(t *testing.T) {
	s := serve(t, 0)
	crowd(t, s)
	one, two := dial(t, s), dial(t, s)
	one.ask("one")
	eventually(t, "parked", func() bool { return s.l.lot.Len() == 2 })
	s.l.lot.StopAdding()
	three := dial(t, s)
	eventually(t, "accepted", func() bool { return s.l.Len() == parking.Threshold+3 })
	for range 2 {
		for _, c := range []*client{one, two, three} {
			c.ask("still served")
		}
		time.Sleep(2 * parking.MaxIdle)
	}
	if got := s.l.lot.Len(); got != 0 {
		t.Errorf("%d are parked, want none", got)
	}
}
