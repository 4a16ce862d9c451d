package upstream_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/proxytest"
	"github.com/wadi-run/wadi/proxy/upstream"
)

// Trailers pass in both directions, also those of a short answer, whose length the
// app's server knows.
func TestForward_Trailers(t *testing.T) {
	both := func(t *testing.T, f func(*testing.T, wadi.Protocol, *http.Client)) {
		each(t, f)
		t.Run("http1 to h2c", func(t *testing.T) { f(t, wadi.H2C, proxytest.Client(t, false)) })
		t.Run("h2c to http1", func(t *testing.T) { f(t, wadi.HTTP1, proxytest.Client(t, true)) })
	}
	both(t, func(t *testing.T, p wadi.Protocol, c *http.Client) {
		app := proxytest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Came")
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, "body")
			w.Header().Set("X-Came", r.Trailer.Get("X-Tail"))
		})
		addr := front(t, upstream.Config{Addr: app, Protocol: p}, nil)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr, io.LimitReader(strings.NewReader("12345"), 5))
		if err != nil {
			t.Fatal(err)
		}
		req.Trailer = http.Header{"X-Tail": {"a, b"}}
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if got := res.Trailer.Get("X-Came"); err != nil || string(body) != "body" || got != "a, b" {
			t.Errorf("got %q, %v, trailers %v, want X-Came \"a, b\"", body, err, res.Trailer)
		}
	})
}

// A gRPC server resets the stream of a call whose deadline is over. The caller, whose
// own deadline comes a little later, must not take that for a failure of the server.
func TestForward_CallOutOfTime(t *testing.T) {
	dial := framePeer(t, func(_ int, f *http2.Framer, _ net.Conn) {
		for {
			stream, ok := await(f, http2.FrameHeaders)
			if !ok {
				return
			}
			_ = f.WriteRSTStream(stream, http2.ErrCodeCancel)
		}
	})
	u := open(t, upstream.Config{Dial: dial})
	for timeout, want := range map[string]string{"1S": "4", "": ""} {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/wadi.test.Echo/Say", strings.NewReader("call"))
		r.ProtoMajor, r.ProtoMinor = 2, 0
		r.Header.Set("Content-Type", "application/grpc")
		if timeout != "" {
			r.Header.Set("Grpc-Timeout", timeout)
		}
		err := u.Forward(w, r)
		if got := w.Header().Get("Grpc-Status"); got != want || (err == nil) != (want != "") {
			t.Errorf("with Grpc-Timeout %q: got Grpc-Status %q, %v, want %q", timeout, got, err, want)
		}
	}
}
