package upstream_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi/proxy/proxytest"
	"github.com/wadi-run/wadi/proxy/upstream"
)

// An app that waits for the body only after it has said so, and one that does not
// want it.
func TestHTTP1_ExpectContinue(t *testing.T) {
	const request = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
	t.Run("wanted", func(t *testing.T) {
		app := rawApp(t, func(_ int, c net.Conn, in *bufio.Reader) {
			lines, err := head(in)
			if err != nil {
				return
			}
			if in.Buffered() > 0 || !contains(lines, "Expect: 100-continue") {
				t.Errorf("got %q and %d bytes of the body", lines, in.Buffered())
			}
			_, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
			body := make([]byte, 5)
			_, _ = io.ReadFull(in, body)
			_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n%s", body)
		})
		c, in := dial(t, front(t, upstream.Config{Addr: app}, nil))
		_, _ = io.WriteString(c, request)
		if line, err := in.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
			t.Fatalf("got %q, %v", line, err)
		}
		_, _ = in.ReadString('\n')
		_, _ = io.WriteString(c, "hello")
		wantAnswer(t, in, 200, "hello")
	})
	t.Run("not wanted", func(t *testing.T) {
		app := rawApp(t, func(_ int, c net.Conn, in *bufio.Reader) {
			_, _ = head(in)
			_, _ = io.WriteString(c, "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno")
			if rest, _ := io.ReadAll(in); len(rest) > 0 {
				t.Errorf("the app got %q of a body that it did not want", rest)
			}
		})
		c, in := dial(t, front(t, upstream.Config{Addr: app}, nil))
		_, _ = io.WriteString(c, request)
		if res := wantAnswer(t, in, 417, "no"); !res.Close {
			t.Error("the connection stays open, with a body on it that may come or not")
		}
	})
	t.Run("no word", func(t *testing.T) {
		app := rawApp(t, func(_ int, c net.Conn, in *bufio.Reader) {
			_, _ = head(in)
			body := make([]byte, 5)
			_, _ = io.ReadFull(in, body)
			_, _ = fmt.Fprintf(c, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n%s", body)
		})
		c, in := dial(t, front(t, upstream.Config{Addr: app}, nil))
		_, _ = io.WriteString(c, request)
		if line, err := in.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" { // After a second.
			t.Fatalf("got %q, %v", line, err)
		}
		_, _ = in.ReadString('\n')
		_, _ = io.WriteString(c, "hello")
		wantAnswer(t, in, 200, "hello")
	})
}

// The body of a request and its trailers arrive as they were sent, in the framing
// that they were sent in.
func TestHTTP1_RequestBodies(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 64<<10)
	for name, tt := range map[string]struct {
		request string
		body    string
		length  int64
		trailer http.Header
	}{
		"length":        {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "hello", 5, nil},
		"nothing":       {"POST / HTTP/1.1\r\nHost: a\r\n\r\n", "", 0, nil},
		"zero":          {"PURGE / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "", 0, nil},
		"long":          {fmt.Sprintf("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(long), long), long, int64(len(long)), nil},
		"chunked":       {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", "hello!", -1, nil},
		"empty chunked": {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "", -1, nil},
		"long chunk":    {fmt.Sprintf("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(long), long), long, -1, nil},
		"trailers": {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
			"hello", -1, http.Header{"X-Sum": {"1"}}},
	} {
		t.Run(name, func(t *testing.T) {
			app := proxytest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil || string(body) != tt.body || r.ContentLength != tt.length {
					t.Errorf("got %d bytes of length %d, %v; want %d of %d", len(body), r.ContentLength, err, len(tt.body), tt.length)
				}
				if diff := cmp.Diff(tt.trailer, r.Trailer); diff != "" {
					t.Errorf("trailers (-want +got):\n%s", diff)
				}
				w.Header().Set("X-Method", r.Method)
			})
			c, in := dial(t, front(t, upstream.Config{Addr: app}, nil))
			for range 2 { // The connection is used again.
				go func() { _, _ = io.WriteString(c, tt.request) }()
				if res := wantAnswer(t, in, 200, ""); res.Header.Get("X-Method") != tt.request[:strings.Index(tt.request, " ")] || res.Close {
					t.Errorf("got %v, close %v", res.Header, res.Close)
				}
			}
		})
	}
}

// A caller that breaks its body off must not make the app think that it was whole.
func TestHTTP1_CallerBreaksItsBody(t *testing.T) {
	for _, request := range []string{
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nXX\r\n",
	} {
		seen := make(chan error, 1)
		app := proxytest.Serve(t, func(_ http.ResponseWriter, r *http.Request) {
			_, err := io.ReadAll(r.Body)
			seen <- err
		})
		c, _ := dial(t, front(t, upstream.Config{Addr: app}, func(w http.ResponseWriter, r *http.Request, e *upstream.ForwardError) {
			if !e.BodyRead || e.Retryable(r) {
				t.Errorf("%q: got %+v", request, e)
			}
		}))
		_, _ = io.WriteString(c, request)
		_ = c.(*net.TCPConn).CloseWrite()
		if err := <-seen; err == nil {
			t.Errorf("%q: the app took it for whole", request)
		}
	}
}

// Nobody may change to another HTTP behind Wadi's back, and what else is between two
// neighbours goes no further.
func TestHTTP1_RequestHeader(t *testing.T) {
	lines := make(chan []string, 1)
	app := rawApp(t, func(_ int, c net.Conn, in *bufio.Reader) {
		got, _ := head(in)
		lines <- got
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	})
	addr := front(t, upstream.Config{Addr: app, Header: http.Header{"Wadi-Instance": {"alloc"}}}, nil)
	roundTrip(t, addr, "GET http://other/%41?a HTTP/1.1\r\nHost: a\r\nConnection: close, Upgrade, HTTP2-Settings, X-Drop, X-Forwarded-For, Wadi-Instance\r\n"+
		"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nX-Drop: 1\r\nX-Forwarded-For: 1.2.3.4\r\nWadi-Instance: forged\r\nKeep-Alive: 5\r\n"+
		"Te: trailers, gzip\r\nProxy-Authorization: secret\r\n\r\n")
	want := []string{"GET /%41?a HTTP/1.1", "Host: other", "X-Forwarded-For: 1.2.3.4", "Wadi-Instance: alloc", "Te: trailers"}
	if diff := cmp.Diff(want, <-lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What no app could be sent is refused before anything is done.
func TestHTTP1_Unsendable(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"space in the target": func(r *http.Request) { r.RequestURI = "/a HTTP/1.1" },
		"line end in it":      func(r *http.Request) { r.RequestURI = "/a\r\nX: y" },
		"space in the host":   func(r *http.Request) { r.Host = "a b" },
		"CONNECT":             func(r *http.Request) { r.Method = http.MethodConnect },
		"method of two words": func(r *http.Request) { r.Method = "GET /x" },
		"line end in a value": func(r *http.Request) { r.Header.Set("X-A", "b\r\nX-B: c") },
		"colon in a name":     func(r *http.Request) { r.Header["X-A: b"] = []string{"c"} },
	} {
		u := upstream.New(upstream.Config{Dial: proxytest.Dialer(answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))})
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		change(r)
		var failed *upstream.ForwardError
		if err := u.Forward(httptest.NewRecorder(), r); !errors.As(err, &failed) || !failed.Unsendable || failed.Retryable(r) {
			t.Errorf("%s: got %+v, want it unsendable", name, err)
		}
		u.Close()
	}
}
