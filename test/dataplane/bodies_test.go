//go:build e2e

package dataplane_test

import (
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"testing"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// pattern is the endless body of the app's /bytes.
type pattern struct {
	block []byte
	at    int
}

func newPattern() *pattern {
	p := &pattern{block: make([]byte, 65521)}
	for i := range p.block {
		p.block[i] = byte(i)
	}
	return p
}

func (p *pattern) Read(b []byte) (int, error) {
	n := copy(b, p.block[p.at:])
	p.at = (p.at + n) % len(p.block)
	return n, nil
}

// summed is a body's length and checksum as the app writes them.
func summed(r io.Reader) (string, error) {
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	n, err := io.CopyBuffer(struct{ io.Writer }{sum}, struct{ io.Reader }{r}, make([]byte, 256<<10))
	return fmt.Sprintf("%d %08x", n, sum.Sum32()), err
}

// TestBodies: bodies of any length arrive whole, in both directions at once.
func TestBodies(t *testing.T) {
	t.Parallel()
	for _, way := range ways() {
		size := int64(3 << 30) // More than 31 bits.
		if way.mesh {
			size = 200 << 20
		}
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			name := way.service("bodies")
			up(t, name, options{mesh: way.mesh})
			want, err := summed(io.LimitReader(newPattern(), size))
			must(t, "sum", err)
			c := stack.Client(t)
			t.Run("requests", func(t *testing.T) { // One with a length, and a small one without.
				sendBody(t, c, name, size, size, want)
				sendBody(t, c, name, 10<<20, -1, "")
			})
			t.Run("answers", func(t *testing.T) {
				t.Parallel()
				res, err := c.Get(harnesstest.URL(name, fmt.Sprintf("/bytes?n=%d", size)))
				must(t, "ask", err)
				defer res.Body.Close()
				got, err := summed(res.Body)
				if err != nil || got != want || res.ContentLength != size {
					t.Errorf("got %s, length %d, %v, want %s", got, res.ContentLength, err, want)
				}
			})
		})
	}
}

func sendBody(t *testing.T, c *http.Client, service string, size, length int64, want string) {
	t.Helper()
	if want == "" {
		var err error
		want, err = summed(io.LimitReader(newPattern(), size))
		must(t, "sum", err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, harnesstest.URL(service, "/count"), io.LimitReader(newPattern(), size))
	must(t, "make request", err)
	req.ContentLength = length
	res, err := harness.Do(c, req)
	must(t, "send", err)
	if res.Status != 200 || res.Body != want {
		t.Errorf("got %d %q, want %s", res.Status, res.Body, want)
	}
}
