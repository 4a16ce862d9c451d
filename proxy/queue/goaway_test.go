package queue_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// onceReader is a body that can't be read twice.
type onceReader struct{ io.Reader }

// Go's client loses no request by a drain, even one that it may send only once, and although
// it keeps reconnecting: each connection carries some requests.
func TestDrain_BodiesThatAreReadOnce(t *testing.T) {
	t.Parallel()
	s := startSettling(t, settleLate, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: &p}}
	defer client.CloseIdleConnections()
	ask := func() {
		res, err := client.Post("http://"+s.Addr(), "", onceReader{strings.NewReader("hello")})
		if err != nil {
			t.Error(err)
			return
		}
		defer res.Body.Close()
		if got, err := io.ReadAll(res.Body); err != nil || string(got) != "hello" {
			t.Errorf("got %d %q, %v", res.StatusCode, got, err)
		}
	}
	ask()
	s.stop()
	for range 500 {
		ask()
	}
}

// framer is a caller that writes and reads HTTP/2 frames.
type framer struct {
	*http2.Framer
	t *testing.T
}

func dialHTTP2(t *testing.T, addr string) framer {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	_, _ = io.WriteString(c, http2.ClientPreface)
	f := framer{http2.NewFramer(c, c), t}
	_ = f.WriteSettings()
	return f
}

func (f framer) ask(stream uint32) {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for _, h := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}, {":path", "/"}} {
		_ = e.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
	}
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
}

// first reads up to a frame of any of the types, and returns its type.
func (f framer) first(types ...http2.FrameType) http2.FrameType {
	f.t.Helper()
	for {
		got, err := f.ReadFrame()
		if err != nil {
			f.t.Fatal(err)
		}
		for _, kind := range types {
			if got.Header().Type == kind {
				return kind
			}
		}
	}
}

// The first GOAWAY comes just before an answer that the caller waits for: then the caller
// can't be choosing the connection. A silent caller gets it after a while, and a new one
// gets an answer first.
func TestDrain_WhenGoAwayIsSaid(t *testing.T) {
	t.Parallel()
	s := startSettling(t, settleLate, func(w http.ResponseWriter, r *http.Request) {})
	busy, silent := dialHTTP2(t, s.Addr()), dialHTTP2(t, s.Addr())
	for _, f := range []framer{busy, silent} {
		f.ask(1)
		f.first(http2.FrameHeaders)
	}
	s.stop()
	eventually(t, "draining", func() bool { return s.get(s.MetricsAddr(), "/ready").StatusCode != 200 })
	for _, f := range []framer{busy, silent} {
		_ = f.WritePing(false, [8]byte{})
		if f.first(http2.FramePing, http2.FrameGoAway) != http2.FramePing {
			t.Error("GOAWAY while nothing is asked")
		}
	}
	busy.ask(3)
	if busy.first(http2.FrameHeaders, http2.FrameGoAway) != http2.FrameGoAway {
		t.Error("an answer before GOAWAY")
	}
	busy.first(http2.FrameHeaders)
	late := dialHTTP2(t, s.Addr())
	late.ask(1)
	if late.first(http2.FrameHeaders, http2.FrameGoAway) != http2.FrameHeaders {
		t.Error("GOAWAY before the first answer on a new connection")
	}
	for _, f := range []framer{silent, late} {
		f.first(http2.FrameGoAway)
		f.ask(5) // The caller may still send a request.
		f.first(http2.FrameHeaders)
	}
}
