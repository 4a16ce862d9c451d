package activator_test

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/activator"
)

// parrot is a connection to an instance that answers each request at once, in the
// goroutine that sent it and without a byte of memory.
type parrot struct {
	out []byte
}

var (
	parrotSays  = []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
	parrotReady = []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + wadi.HeaderRevision + ": " + revision + "\r\n" + wadi.HeaderInstance + ": alloc-1\r\n\r\n")
)

func (p *parrot) Write(b []byte) (int, error) {
	p.out = parrotSays
	if bytes.Contains(b, []byte(wadi.HeaderProbe)) {
		p.out = parrotReady
	}
	return len(b), nil
}

func (p *parrot) Read(b []byte) (int, error) {
	if len(p.out) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b, p.out)
	p.out = p.out[n:]
	return n, nil
}

func (*parrot) Close() error                     { return nil }
func (*parrot) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*parrot) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*parrot) SetDeadline(time.Time) error      { return nil }
func (*parrot) SetReadDeadline(time.Time) error  { return nil }
func (*parrot) SetWriteDeadline(time.Time) error { return nil }

type parrots struct{}

func (parrots) Dial(context.Context, wadi.Endpoint) (net.Conn, error) { return &parrot{}, nil }

// sink is a client that wants nothing of the answer.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header { return s.header }
func (*sink) WriteHeader(int)       {}

// SetWriteDeadline is a server's, as all writers of requests have it.
func (*sink) SetWriteDeadline(time.Time) error { return nil }

func (*sink) Write(b []byte) (int, error) { return len(b), nil }

// warm returns a function that serves one request over an instance that is ready.
func warm(t testing.TB, edit ...func(*activator.Config)) (serve func()) {
	t.Helper()
	set := settings()
	set.Timeout.Request = wadi.Duration(5 * time.Minute)
	g := newRig(t, set, append(edit, func(c *activator.Config) { c.Dialer = parrots{} })...)
	g.place(wadi.Endpoint{Revision: revision, Service: service, Instance: "alloc-1", Addr: "127.0.0.1:1"})
	if got := g.get(t); got.status != 200 || got.body != "hi" {
		t.Fatalf("got %v", got)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/some/path?and=query", nil)
	r.Header.Set("User-Agent", "test")
	w := &sink{header: http.Header{}}
	return func() {
		clear(w.header)
		g.act.ServeRevision(w, r, service, revision)
	}
}

// What a warm request costs in memory is bounded: the request itself, its copy
// with a context of its own, that context, and what the way to the instance needs.
func TestWarm_Allocations(t *testing.T) {
	serve := warm(t)
	if got := testing.AllocsPerRun(1000, serve); got > 7 {
		t.Errorf("%v allocations for each warm request, want at most 7", got)
	}
}

// Request records cost nothing while they are off.
func TestWarm_RequestRecordsOff(t *testing.T) {
	off := testing.AllocsPerRun(1000, warm(t))
	on := testing.AllocsPerRun(1000, warm(t, func(c *activator.Config) { c.RequestRecords = true }))
	if on > off {
		t.Errorf("%v allocations with request records that nobody asked for, %v without", on, off)
	}
}

// BenchmarkServe is the activator's part of a warm request, and of the way to the
// instance what is not the kernel's.
func BenchmarkServe(b *testing.B) {
	serve := warm(b)
	b.ReportAllocs()
	for b.Loop() {
		serve()
	}
}
