package activator_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
)

// What comes after a body that can't be parsed is no request of its own, and the
// instance that should have had it is not to blame.
func TestBrokenBody(t *testing.T) {
	const broken = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n"
	const inside = "GET /inside HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, tt := range []struct {
		name string
		warm bool
		want string
	}{
		{"forwarded", true, "HTTP/1.1 400 "},
		{"refused", false, "HTTP/1.1 504 "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set := settings()
			if !tt.warm {
				set.Queue.Timeout = wadi.Duration(50 * time.Millisecond)
			}
			g := newRig(t, set)
			if tt.warm {
				b := newBackend(t, "alloc-1")
				g.set(func(c *cluster) { c.onWake = func(string) { c.place(b.ep) } })
				if a := g.get(t); a.status != 200 {
					t.Fatalf("got %v", a)
				}
			}
			wakes := g.woken(revision)
			c, err := net.Dial("tcp", g.srv.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(time.Minute))
			if _, err := io.WriteString(c, broken+inside); err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(c) // It must be closed; a reset is closed too.
			if !strings.HasPrefix(string(got), tt.want) || strings.Count(string(got), "HTTP/1.1 ") != 1 {
				t.Errorf("got %q, want one answer, %s", got, tt.want)
			}
			if tt.warm {
				if a := g.get(t); a.status != 200 {
					t.Errorf("got %v afterwards, want the instance still in rotation", a)
				}
				if n := g.woken(revision); n != wakes {
					t.Errorf("got woken %d times, want the instance to have stayed", n-wakes)
				}
			}
		})
	}
}
