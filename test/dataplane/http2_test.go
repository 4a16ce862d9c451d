//go:build e2e

package dataplane_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"

	"github.com/wadi-run/wadi/test/harness"
	"github.com/wadi-run/wadi/test/harness/harnesstest"
)

// TestHTTP2 shows HTTP/2 between the caller and the gateway, and between the
// queue-proxy and an app that speaks it.
func TestHTTP2(t *testing.T) {
	t.Parallel()
	for _, way := range ways() {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			name := way.service("http2")
			up(t, name, options{mesh: way.mesh, protocol: "h2c"})
			for _, proto := range []string{"HTTP/2", "HTTP/1"} { // Of the caller.
				c := stack.H2Client(t)
				if proto == "HTTP/1" {
					c = stack.Client(t)
				}
				t.Run(proto, func(t *testing.T) {
					h := h2{t, c, name}
					t.Run("target", h.target)
					t.Run("bodies", h.bodies)
					t.Run("trailers", h.trailers)
					t.Run("full duplex", h.duplex)
					t.Run("early answer", h.early)
					t.Run("broken off", func(t *testing.T) { brokenOff(t, c, name) })
				})
			}
		})
	}
}

// A caller in HTTP/2 before an app in HTTP/1.1.
func TestHTTP2_AppInHTTP1(t *testing.T) {
	t.Parallel()
	const name = "http2to1"
	up(t, name, options{})
	h := h2{t, stack.H2Client(t), name}
	t.Run("bodies", h.bodies)
	t.Run("trailers", h.trailers)
	t.Run("full duplex", h.duplex)
	t.Run("early answer", h.early)
	t.Run("broken off", func(t *testing.T) { brokenOff(t, h.c, name) })
}

type h2 struct {
	t    *testing.T
	c    *http.Client
	name string
}

func (h h2) do(t *testing.T, method, path string, body io.Reader, change func(*http.Request)) harness.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, harnesstest.URL(h.name, path), body)
	must(t, "make request", err)
	if change != nil {
		change(req)
	}
	res, err := harness.Do(h.c, req)
	must(t, method+" "+path, err)
	return res
}

func (h h2) target(t *testing.T) {
	res := h.do(t, http.MethodGet, "/uri/%2F/a?b=%2F", nil, nil)
	if got, want := res.Body, "GET /uri/%2F/a?b=%2F HTTP/2.0\n"; !strings.HasPrefix(got, want) {
		t.Errorf("the app got %.60q, want %q", got, want)
	}
}

func (h h2) bodies(t *testing.T) {
	const size = 5 << 20
	sendBody(t, h.c, h.name, size, size, "")
	sendBody(t, h.c, h.name, size, -1, "")
	want, _ := summed(io.LimitReader(newPattern(), size))
	res := h.do(t, http.MethodGet, fmt.Sprintf("/bytes?n=%d", size), nil, nil)
	if got, _ := summed(strings.NewReader(res.Body)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func (h h2) trailers(t *testing.T) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, harnesstest.URL(h.name, "/trailers"), io.LimitReader(newPattern(), 5))
	must(t, "make request", err)
	req.ContentLength, req.Trailer = -1, http.Header{"X-Tail": {"a, b"}}
	req.Header.Set("TE", "trailers")
	res, err := h.c.Do(req)
	must(t, "send", err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || string(body) != "body" || res.Trailer.Get("Sum") != "5" || res.Trailer.Get("Came") != "a, b" {
		t.Errorf("got %q, %v, trailers %v, want Sum 5 and Came \"a, b\"", body, err, res.Trailer)
	}
}

// duplex: each line is answered before the next is sent.
func (h h2) duplex(t *testing.T) {
	out, in := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, harnesstest.URL(h.name, "/duplex"), out)
	must(t, "make request", err)
	res, err := h.c.Do(req)
	must(t, "send", err)
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	for i := range 4 {
		_, err := fmt.Fprintf(in, "line %d\n", i)
		must(t, "write", err)
		if got, err := lines.ReadString('\n'); err != nil || got != fmt.Sprintf("line %d!\n", i) {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	must(t, "end the body", in.Close())
	if rest, err := io.ReadAll(lines); err != nil || len(rest) > 0 {
		t.Errorf("got %q, %v at the end, want nothing", rest, err)
	}
}

// early: the answer comes while the body has not ended.
func (h h2) early(t *testing.T) {
	out, in := io.Pipe()
	defer in.Close()
	go func() { _, _ = in.Write(make([]byte, 100)) }() // The rest never comes.
	if res := h.do(t, http.MethodPost, "/early", out, nil); res.Status != 403 || res.Body != "not you\n" {
		t.Errorf("got %d %q, want 403", res.Status, res.Body)
	}
}

// brokenOff: an answer that the app breaks off ends with an error; in HTTP/2, other
// requests on the same connection are not affected.
func brokenOff(t *testing.T, c *http.Client, name string) {
	key := strings.NewReplacer("/", "-", " ", "-").Replace(t.Name())
	open, err := c.Get(harnesstest.URL(name, "/events?key="+key))
	must(t, "open another stream", err)
	defer open.Body.Close()

	res, err := c.Get(harnesstest.URL(name, "/die"))
	must(t, "ask", err)
	defer res.Body.Close()
	if got, err := io.ReadAll(res.Body); err == nil || string(got) != "half" {
		t.Errorf("got %q, %v, want a half and an error", got, err)
	} else if res.ProtoMajor == 2 && !strings.Contains(err.Error(), "stream") {
		t.Errorf("got %v, want the stream's reset", err)
	}

	reused := false
	trace := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
	req, err := http.NewRequestWithContext(trace, http.MethodGet, harnesstest.URL(name, "/go?key="+key), nil)
	must(t, "make request", err)
	after, err := harness.Do(c, req)
	must(t, "let the other stream go on", err)
	if after.Status != 200 || res.ProtoMajor == 2 && !reused {
		t.Errorf("got %d, on the same connection: %v", after.Status, reused)
	}
	if got, err := io.ReadAll(open.Body); err != nil || string(got) != "data: one\n\ndata: two\n\n" {
		t.Errorf("the other stream: got %q, %v", got, err)
	}
}
