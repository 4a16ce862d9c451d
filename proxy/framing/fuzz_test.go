package framing_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/wadi-run/wadi/proxy/framing"
	"github.com/wadi-run/wadi/proxy/proxytest"
)

// What the check lets pass is what a strict reader reads; what it refuses is what
// that one refuses; and net/http behind it sees those requests, those bodies, and
// nothing else, however the bytes come.
func FuzzConn(f *testing.F) {
	for i, a := range proxytest.Attacks() {
		f.Add(a.Bytes(), uint64(i))
	}
	f.Add([]byte(smallHead+smallHead), uint64(1))
	f.Add(wire("GET / HTTP/1.1\nHost: h\nConnection: Upgrade\nUpgrade: x\n\n"+smuggled), uint64(2))
	f.Add(wire("GET /a HTTP/1.1\nHost: h\n\nPOST / HTTP/1.1\nHost: h\nUpgrade: x\nContent-Length: 2\n\nab"+smuggled), uint64(3))
	f.Fuzz(func(t *testing.T, in []byte, seed uint64) {
		if len(in) > 16<<10 {
			return
		}
		want, v := strict(in)
		pieces := func(seed uint64) func() int {
			r := rand.New(rand.NewPCG(seed, 0))
			most := 1 + r.IntN(60)
			return func() int { return 1 + r.IntN(most) }
		}
		passed, why := readAll(t, in, pieces(seed), pieces(seed+1))
		if (why != framing.None) != (v == malformed) {
			t.Fatalf("refused for %v; the strict reader says %d after %+v", why, v, want)
		}
		if why == framing.None && !bytes.Equal(passed, in) {
			t.Fatalf("passed %q", passed)
		}
		got := serveMem(t, in, pieces(seed+2), framing.Config{}, nil)
		if len(got.refused) > 1 || len(got.refused) == 1 && v != malformed {
			t.Fatalf("refused for %v", got.refused)
		}
		for i, r := range got.requests {
			last := i == len(got.requests)-1
			switch {
			case i < len(want) && (r == want[i] || last && !r.Whole): // The server may refuse more.
			case i == len(want) && last && !r.Whole: // Aborted.
			default:
				t.Fatalf("the server saw %+v\nthe strict reader %+v", got.requests, want)
			}
		}
	})
}

// readAll reads what passes, in other pieces than it comes.
func readAll(t *testing.T, in []byte, came, asked func() int) ([]byte, framing.Reason) {
	t.Helper()
	c := framing.New(framing.Config{}).Conn(newMemConn(in, came))
	var out []byte
	for {
		p := make([]byte, asked())
		n, err := c.Read(p)
		out = append(out, p[:n]...)
		var refused *framing.Error
		switch {
		case errors.As(err, &refused):
			return out, refused.Reason
		case err == io.EOF:
			return out, framing.None
		case err != nil:
			t.Fatal(err)
		}
	}
}
