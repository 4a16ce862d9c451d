package upstream_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/proxytest"
	"github.com/wadi-run/wadi/proxy/upstream"
)

// An app sends a body over HTTP/2 where there may be none: the caller gets the answer
// without it, whole, and the next answer on its connection is its own too.
func TestHTTP2_BodyWhereThereIsNone(t *testing.T) {
	for _, status := range []int{http.StatusNoContent, http.StatusResetContent, http.StatusNotModified} {
		for _, version := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d, HTTP/2 %v", status, version), func(t *testing.T) {
				dial := framePeer(t, func(_ int, f *http2.Framer, _ net.Conn) {
					for {
						stream, ok := await(f, http2.FrameHeaders)
						if !ok {
							return
						}
						var block bytes.Buffer
						e := hpack.NewEncoder(&block)
						_ = e.WriteField(hpack.HeaderField{Name: ":status", Value: fmt.Sprint(status)})
						_ = e.WriteField(hpack.HeaderField{Name: "x-stream", Value: fmt.Sprint(stream)})
						_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true})
						_ = f.WriteData(stream, true, []byte("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen"))
					}
				})
				c := proxytest.Client(t, version)
				addr := front(t, upstream.Config{Addr: "app", Dial: dial, Protocol: wadi.H2C}, nil)
				for i := range 5 {
					res, err := c.Get("http://" + addr)
					if err != nil {
						t.Fatal(err)
					}
					body, err := io.ReadAll(res.Body)
					res.Body.Close()
					if want := fmt.Sprint(2*i + 1); err != nil || res.StatusCode != status || len(body) > 0 || res.Header.Get("X-Stream") != want {
						t.Errorf("got %d %q of stream %q, %v; want %d, nothing, %s", res.StatusCode, body, res.Header.Get("X-Stream"), err, status, want)
					}
				}
			})
		}
	}
}

// An answer whose head is too large is said to be that.
func TestHTTP2_LargeHead(t *testing.T) {
	dial := framePeer(t, func(_ int, f *http2.Framer, _ net.Conn) {
		stream, _ := await(f, http2.FrameHeaders)
		var block bytes.Buffer
		e := hpack.NewEncoder(&block)
		_ = e.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
		for range 1000 { // Few bytes on the wire.
			_ = e.WriteField(hpack.HeaderField{Name: "x-a", Value: strings.Repeat("a", 100)})
		}
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
		await(f, http2.FrameGoAway)
	})
	u := upstream.New(upstream.Config{Addr: "app", Dial: dial, Protocol: wadi.H2C})
	t.Cleanup(u.Close)
	_, err := do(u, http.MethodGet, nil)
	if err == nil || !err.Malformed || err.Reason("it") != "it sent a malformed answer: a head beyond 64 KiB" {
		t.Errorf("got %+v", err)
	}
}

// HTTP/2 has no 101: the caller, who may believe that its connection is another
// protocol's now, gets none.
func TestHTTP2_SwitchingProtocols(t *testing.T) {
	dial := framePeer(t, func(_ int, f *http2.Framer, _ net.Conn) {
		stream, _ := await(f, http2.FrameHeaders)
		var block bytes.Buffer
		_ = hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: "101"})
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true})
		answer(f, stream)
		await(f, http2.FrameGoAway)
	})
	var failed *upstream.ForwardError
	addr := front(t, upstream.Config{Addr: "app", Dial: dial, Protocol: wadi.H2C}, func(w http.ResponseWriter, _ *http.Request, e *upstream.ForwardError) {
		failed = e
		w.WriteHeader(http.StatusBadGateway)
	})
	got := roundTrip(t, addr, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 502 ") || failed == nil || !failed.Malformed {
		t.Errorf("got %q, %+v, want none of the app's answer", got, failed)
	}
}
