package main_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// stalling is an app whose answers have no end and which reads no bodies, until it is closed.
type stalling struct {
	*httptest.Server
	seen, sent atomic.Int64
	over       chan struct{}
}

func newStalling(t *testing.T) *stalling {
	t.Helper()
	a := &stalling{over: make(chan struct{})}
	a.Server = httptest.NewServer(a)
	t.Cleanup(func() {
		close(a.over)
		a.CloseClientConnections()
		a.Close()
	})
	return a
}

func (a *stalling) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.seen.Add(1)
	switch r.URL.Path {
	case "/reads":
		n, _ := io.Copy(io.Discard, r.Body)
		a.sent.Add(n)
	case "/chunks":
		a.answer(w)
	}
	<-a.over
}

func (a *stalling) answer(w io.Writer) {
	for piece := make([]byte, 32<<10); ; {
		n, err := w.Write(piece)
		if a.sent.Add(int64(n)); err != nil {
			return
		}
	}
}

// peak is how many MiB the process has had resident at most.
func (p *process) peak(t *testing.T) (n int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscanf(rest, "%d kB", &n); err != nil {
		t.Fatalf("%v in %s", err, status)
	}
	return n >> 10
}

// transfers are stalled transfers: each begins one, or several on one connection.
var transfers = map[string]struct {
	perConn int
	begin   func(c net.Conn)
}{
	"reads no chunks": {1, func(c net.Conn) { io.WriteString(c, "GET /chunks HTTP/1.1\r\nHost: a\r\n\r\n") }},
	"uploads to an app that does not read": {1, func(c net.Conn) {
		io.WriteString(c, "POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
		fillUp(c, 8<<20)
	}},
	"stops an upload": {1, func(c net.Conn) {
		io.WriteString(c, "POST /reads HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
		fillUp(c, 124<<10) // 4, 8, 16, 32 and 64 KiB.
	}},
	"reads no streams": {100, func(c net.Conn) {
		io.WriteString(c, beginHTTP2)
		for i := range 100 { // GET / of the static table, and a path.
			block := "\x82\x86\x44\x07/chunks\x41\x01a"
			io.WriteString(c, frame(headersFrame, endHeaders|endStream, uint32(2*i+1), len(block), block))
		}
	}},
	"uploads streams to an app that does not read": {100, func(c net.Conn) {
		io.WriteString(c, beginHTTP2)
		for i := range 100 {
			block := "\x83\x86\x44\x07/unread\x41\x01a"
			io.WriteString(c, frame(headersFrame, endHeaders, uint32(2*i+1), len(block), block))
		}
		for i := range 100 { // As far as the window of the connection goes.
			piece := strings.Repeat("a", 10_000)
			io.WriteString(c, frame(dataFrame, 0, uint32(2*i+1), len(piece), piece))
		}
	}},
	"uploads a stream to an app that does not read": {1, func(c net.Conn) {
		io.WriteString(c, beginHTTP2)
		block := "\x83\x86\x44\x07/unread\x41\x01a"
		io.WriteString(c, frame(headersFrame, endHeaders, 1, len(block), block))
		for _, n := range []int{16 << 10, 16 << 10, 16 << 10, 16<<10 - 1} { // As far as its window goes.
			io.WriteString(c, frame(dataFrame, 0, 1, n, strings.Repeat("a", n)))
		}
	}},
}

// beginHTTP2 is what a caller begins with; the answers stay unread.
const beginHTTP2 = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// fillUp sends up to n bytes, until no more are taken.
func fillUp(c net.Conn, n int) {
	piece := make([]byte, 16<<10)
	for ; n > 0; n -= len(piece) {
		_ = c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := c.Write(piece[:min(n, len(piece))]); err != nil {
			return
		}
	}
}

// Transfers that stall, as many as come, take no more memory than the task has: of
// what they need each there is a bound, and of their number one that follows it.
func TestCommand_Memory_StalledTransfers(t *testing.T) {
	for name, tt := range transfers {
		t.Run(name, func(t *testing.T) {
			app := newStalling(t)
			p := started(t, app.Listener.Addr().String(), fmt.Sprint("NOMAD_MEMORY_LIMIT=", mib))
			before := p.peak(t)
			var all sync.WaitGroup
			turns := make(chan struct{}, 50)
			for range 1100 / tt.perConn {
				c := p.dial(t)
				_ = c.(*net.TCPConn).SetReadBuffer(4 << 10)
				turns <- struct{}{}
				all.Go(func() {
					tt.begin(c)
					<-turns
				})
			}
			all.Wait()
			for last, same := int64(-1), 0; same < 5; time.Sleep(100 * time.Millisecond) {
				if now := app.sent.Load() + app.seen.Load(); now == last {
					same++
				} else {
					last, same = now, 0
				}
			}
			got := p.peak(t)
			if t.Logf("%d MiB with %d in the app, before %d", got, app.seen.Load(), before); got > mib {
				t.Errorf("more than the %d MiB of the task", mib)
			}
		})
	}
}
