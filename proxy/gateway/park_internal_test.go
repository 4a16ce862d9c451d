package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/net/http2"

	"github.com/wadi-run/wadi/proxy/parking"
)

// crowd is a server that runs until the test ends. It echoes; at /hold the answer goes on
// until the server stops.
type crowd struct {
	t    *testing.T
	s    *Server
	free chan struct{}
	stop func() error
}

func (c *crowd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/hold" {
		_ = http.NewResponseController(w).Flush()
		<-c.free
	}
	_, _ = io.Copy(w, r.Body)
}

func newCrowd(t *testing.T, b Limits) *crowd {
	t.Helper()
	return newCrowdThat(t, b, 10*time.Millisecond)
}

// newCrowdThat has the server keep idle connections for linger when it stops.
func newCrowdThat(t *testing.T, b Limits, linger time.Duration) *crowd {
	t.Helper()
	out := &crowd{t: t, free: make(chan struct{})}
	s, err := NewServer(t.Context(), ServerConfig{
		Address: "127.0.0.1:0", Handler: out, Log: hclog.NewNullLogger(), Limits: b, ShutdownTimeout: 30 * time.Second,
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
	})
	if err != nil {
		t.Fatal(err)
	}
	out.s, s.linger = s, linger
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	out.stop = sync.OnceValue(func() error { close(out.free); cancel(); return <-ran })
	t.Cleanup(func() {
		if err := out.stop(); err != nil {
			t.Error(err)
		}
	})
	return out
}

// full opens so many busy connections that later ones are parked.
func (c *crowd) full() *crowd {
	c.t.Helper()
	for range parking.Threshold {
		g := c.dial("127.0.0.1")
		g.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
		if _, err := g.answers.ReadByte(); err != nil {
			c.t.Fatal(err)
		}
	}
	return c
}

func (c *crowd) open() int   { return c.s.listener.limiter.Open() }
func (c *crowd) parked() int { return c.s.listener.park.Waiting() }

func (c *crowd) soon(what string, ok func() bool) {
	c.t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("not %s after a minute: %d open, %d parked", what, c.open(), c.parked())
		}
	}
}

// guest is a connection to a crowd.
type guest struct {
	t *testing.T
	net.Conn
	answers *bufio.Reader
}

func (c *crowd) dial(from string) *guest {
	c.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.DialContext(c.t.Context(), "tcp", c.s.Addr().String())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	return &guest{c.t, conn, bufio.NewReaderSize(conn, 256)}
}

// ask sends body and wants its echo.
func (g *guest) ask(body string) {
	g.t.Helper()
	g.send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	g.answer(http.StatusOK, body)
}

func (g *guest) send(s string) {
	g.t.Helper()
	if _, err := io.WriteString(g, s); err != nil {
		g.t.Fatal(err)
	}
}

func (g *guest) answer(status int, body string) {
	g.t.Helper()
	res, err := http.ReadResponse(g.answers, nil)
	if err != nil {
		g.t.Fatalf("for %q: %v", body, err)
	}
	got, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != status || !strings.Contains(string(got), body) {
		g.t.Fatalf("%d %q, %v, want %d %q", res.StatusCode, got, err, status, body)
	}
}

// ends waits for the end of the connection.
func (g *guest) ends() {
	g.t.Helper()
	if _, err := io.Copy(io.Discard, g.answers); errors.Is(err, os.ErrDeadlineExceeded) {
		g.t.Error("it is still open")
	}
}

// A parked connection is served on, a connection with a request that has begun is not
// parked, and closed connections give back their slots.
func TestParked_ServesOn(t *testing.T) {
	c := newCrowd(t, Limits{}).full()
	idle, begun := c.dial("127.0.0.1"), c.dial("127.0.0.1")
	for round := range 3 {
		idle.ask("again")
		begun.ask("again")
		begun.send("P") // The begin of the next request.
		c.soon("parked", func() bool { return c.parked() == 1 })
		idle.ask(fmt.Sprint("after parking ", round))
		begun.send("OST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nlate")
		begun.answer(http.StatusOK, "late")
	}
	c.soon("parked", func() bool { return c.parked() == 2 })
	_ = idle.Close()
	c.soon("rid of the one that has gone", func() bool { return c.parked() == 1 && c.open() == parking.Threshold+1 })
	begun.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	begun.answer(http.StatusOK, "")
	begun.ends()
	c.soon("rid of the other", func() bool { return c.parked() == 0 && c.open() == parking.Threshold })
}

// A connection before its first request costs the server nothing, and is served whatever
// protocol it speaks; the server keeps those with HTTP/2.
func TestParked_BeforeTheFirstRequest(t *testing.T) {
	c := newCrowd(t, Limits{}).full()
	one, two := c.dial("127.0.0.1"), c.dial("127.0.0.1")
	c.soon("parked", func() bool { return c.parked() == 2 })
	one.ask("HTTP/1")
	two.send(http2.ClientPreface)
	f := http2.NewFramer(two, two.answers)
	_ = f.WriteSettings()
	for range 2 {
		c.soon("parked", func() bool { return c.parked() == 1 })
		_ = f.WritePing(false, [8]byte{})
		for acked := false; !acked; {
			frame, err := f.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			ping, ok := frame.(*http2.PingFrame)
			acked = ok && ping.IsAck()
		}
	}
	one.ask("again")
}

// Requests on a connection that was parked are checked: it can't speak HTTP/2 then, nor send
// ambiguous requests.
func TestParked_IsChecked(t *testing.T) {
	c := newCrowd(t, Limits{}).full()
	for _, bad := range []string{
		http2.ClientPreface,
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		g := c.dial("127.0.0.1")
		g.ask("one")
		c.soon("parked", func() bool { return c.parked() == 1 })
		g.send(bad)
		g.answer(http.StatusBadRequest, "")
		g.ends()
		c.soon("rid of it", func() bool { return c.open() == parking.Threshold })
	}
}

// A header's deadline runs from its first byte.
func TestParked_DawdlersAreCutOff(t *testing.T) {
	c := newCrowd(t, Limits{ReadHeaderTimeout: 100 * time.Millisecond}).full()
	for _, asked := range []bool{false, true} {
		for _, first := range []string{"G", "GET / HT"} {
			g := c.dial("127.0.0.1")
			if asked {
				g.ask("one")
			}
			c.soon("parked", func() bool { return c.parked() == 1 })
			g.send(first)
			g.ends() // Otherwise it would end after two minutes.
			c.soon("rid of it", func() bool { return c.open() == parking.Threshold && c.parked() == 0 })
		}
	}
}

// A connection with some of a next request, sent with the one before, is not parked, and has
// a header's deadline.
func TestParked_NotInAHeader(t *testing.T) {
	c := newCrowd(t, Limits{ReadHeaderTimeout: 8 * time.Second}).full()
	mark, goesOn, dawdles := c.dial("127.0.0.1"), c.dial("127.0.0.1"), c.dial("127.0.0.1")
	for _, g := range []*guest{goesOn, dawdles} {
		g.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST / HT")
		g.answer(http.StatusOK, "")
	}
	mark.ask("parked when they would be")
	c.soon("parked", func() bool { return c.parked() == 1 })
	goesOn.send("TP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nlate")
	goesOn.answer(http.StatusOK, "late")
	dawdles.ends() // Otherwise it would end after two minutes.
	c.soon("parked", func() bool { return c.parked() == 2 && c.open() == parking.Threshold+2 })
}

// A parked connection is closed when it was idle for too long.
func TestParked_NotForEver(t *testing.T) {
	c := newCrowd(t, Limits{IdleTimeout: 5 * time.Second})
	for range parking.Threshold + 1 {
		c.dial("127.0.0.1")
	}
	old := c.dial("127.0.0.1")
	c.soon("parked", func() bool { return c.parked() > 0 })
	old.ends()
	c.soon("empty", func() bool { return c.open() == 0 && c.parked() == 0 })
}

// Parked connections are evicted as other idle ones are, the longest idle first, so before
// one that was in use a moment ago. Each gives back its slot once.
func TestParked_MakeRoom(t *testing.T) {
	const waiting = 8
	c := newCrowd(t, Limits{MaxConns: parking.Threshold + waiting + 2}).full()
	// A server counts a connection as idle only after its client has the answer.
	asked := func(from string, n int) *guest {
		g := c.dial(from)
		g.ask("one")
		c.soon("parked", func() bool { return c.parked() >= n })
		return g
	}
	busy := asked("127.0.0.3", 1)
	var waits []*guest
	for i := range waiting {
		waits = append(waits, asked("127.0.0.2", i+2))
	}
	asked("127.0.0.3", waiting+2)
	var late []*guest
	for i, first := range waits {
		busy.ask("in use")
		late = append(late, c.dial("127.0.0.4"))
		late[i].ask("late")
		first.ends()
		if got := c.open(); got != parking.Threshold+waiting+2 {
			t.Errorf("%d are open, want no more and no less than may be", got)
		}
	}
	busy.ask("still open")
	for _, g := range late {
		_ = g.Close()
	}
	c.soon("without closed connections", func() bool { return c.open() == parking.Threshold+2 && c.parked() <= 2 })
}

// All slots come back when connections are opened, parked, used, closed and evicted at the
// same time.
func TestParked_SlotsComeBack(t *testing.T) {
	c := newCrowd(t, Limits{MaxConns: parking.Threshold + 20}).full()
	var all sync.WaitGroup
	for i := range 30 {
		all.Go(func() {
			for j := range 40 {
				conn, err := net.Dial("tcp", c.s.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				_ = conn.SetDeadline(time.Now().Add(time.Minute))
				if i%3 > 0 {
					time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond) // Any order is right.
				}
				for range j % 4 {
					_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nback")
					res, err := http.ReadResponse(bufio.NewReader(conn), nil)
					if err != nil {
						break // It was evicted.
					}
					if got, err := io.ReadAll(res.Body); err != nil || string(got) != "back" {
						t.Errorf("%q, %v", got, err)
					}
				}
				_ = conn.Close()
			}
		})
	}
	all.Wait()
	c.soon("rid of all", func() bool { return c.open() == parking.Threshold && c.parked() == 0 })
}

// A drain serves parked connections that come back while requests are served, and then
// closes the rest: none delays it.
func TestParked_Drain(t *testing.T) {
	c := newCrowdThat(t, Limits{}, 5*time.Second).full()
	quiet, asks := c.dial("127.0.0.1"), c.dial("127.0.0.1")
	quiet.ask("one")
	asks.ask("one")
	c.soon("parked", func() bool { return c.parked() == 2 })
	ended := make(chan error, 1)
	go func() { ended <- c.stop() }()
	<-c.s.listener.done // No new connection is accepted.
	asks.ask("in the drain")
	quiet.ends()
	asks.ends()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if c.open() != 0 || c.parked() != 0 {
		t.Errorf("%d open, %d parked after the end", c.open(), c.parked())
	}
}

// The server keeps a connection that can't be parked.
func TestParked_Full(t *testing.T) {
	c := newCrowd(t, Limits{}).full()
	waits := c.dial("127.0.0.1")
	waits.ask("one")
	c.soon("parked", func() bool { return c.parked() == 1 })
	c.s.listener.park.Fill()
	stays := c.dial("127.0.0.1")
	for range 2 {
		waits.ask("again")
		stays.ask("again")
		time.Sleep(2 * parking.MaxIdle)
	}
	if got := c.parked(); got != 0 {
		t.Errorf("%d are parked, want none", got)
	}
}

// A parked connection takes a fraction of the memory that it takes in the server.
func TestParked_Memory(t *testing.T) {
	const conns = 3 * parking.Threshold
	cost := map[bool]int{}
	for _, parks := range []bool{false, true} {
		t.Run(fmt.Sprint(parks), func(t *testing.T) {
			c := newCrowd(t, Limits{})
			if !parks {
				c.s.listener.park.Fill()
			}
			before := inUse()
			all := make([]*guest, conns)
			for i := range all {
				all[i] = c.dial("127.0.0.1")
			}
			c.soon("open", func() bool { return c.open() == conns })
			for _, g := range all {
				g.ask("one")
			}
			if parks {
				c.soon("parked", func() bool { return c.parked() == conns })
			}
			cost[parks] = (inUse() - before) / conns
		})
	}
	t.Logf("%d bytes in the server, %d parked, with the caller's side", cost[false], cost[true])
	if cost[true] > cost[false]/4 {
		t.Errorf("a parked one costs %d bytes, of %d in the server", cost[true], cost[false])
	}
}

// inUse is the heap and the stacks after a collection.
func inUse() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}
