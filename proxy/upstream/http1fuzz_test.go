package upstream_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi/proxy/upstream"
)

// scriptedConn sends what it was given, and keeps what it gets.
type scriptedConn struct {
	net.Conn
	ended  bool          // The body's end comes with the next write.
	body   int64         // How much of it is still to come; 0 also if it is not known.
	asked  chan struct{} // Closed when the request has come whole.
	answer io.Reader
	got    bytes.Buffer
}

func (c *scriptedConn) Read(b []byte) (int, error) {
	<-c.asked
	return c.answer.Read(b)
}

func (c *scriptedConn) Write(b []byte) (int, error) {
	if c.got.Len() > 0 && c.body > 0 { // The head comes first, by itself.
		c.body -= int64(len(b))
		c.ended = c.body == 0
	}
	if c.ended {
		defer close(c.asked)
	}
	return c.got.Write(b)
}

func (c *scriptedConn) Close() error { return nil }

// endedBody notes when it was read to its end.
type endedBody struct {
	io.Reader
	ended func()
}

func (b endedBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil {
		b.ended()
	}
	return n, err
}

func (b endedBody) Close() error { return nil }

// finalRecorder records the final answer alone.
type finalRecorder struct{ *httptest.ResponseRecorder }

func (w finalRecorder) WriteHeader(status int) {
	if status >= 200 {
		w.ResponseRecorder.WriteHeader(status)
	}
}

// scripted forwards r to a peer that answers so, and returns what became of it.
// Broken says that the answer broke off.
func scripted(r *http.Request, answer string) (c *scriptedConn, w *httptest.ResponseRecorder, broken bool, err error) {
	c = &scriptedConn{answer: strings.NewReader(answer), asked: make(chan struct{})}
	switch {
	case r.Body == http.NoBody || r.ContentLength == 0:
		close(c.asked)
	case r.ContentLength > 0:
		c.body = r.ContentLength
	default:
		r.Body = endedBody{r.Body, func() { c.ended = true }}
	}
	w = httptest.NewRecorder()
	u := upstream.New(upstream.Config{Addr: "app", Dial: func(context.Context) (net.Conn, error) { return c, nil }})
	defer u.Close()
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler {
				panic(p)
			}
			broken = true
		}
	}()
	err = u.Forward(finalRecorder{w}, r)
	return c, w, broken, err
}

// Whatever an app answers: what is passed on is what net/http, as a client of its
// own, would have read of it too.
func FuzzHTTP1_Answers(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.0 200 OK\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-A\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-A: b\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 200\nConnection: x-a, close\nX-A: b\nx-b: c\n\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\n\r\n",
	} {
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, answer string, headOnly bool) {
		method := http.MethodGet
		if headOnly {
			method = http.MethodHead
		}
		r := httptest.NewRequest(method, "/", nil)
		_, w, broken, err := scripted(r, answer)
		if err != nil {
			var failed *upstream.ForwardError
			if !errors.As(err, &failed) || failed.Answered || w.Body.Len() > 0 {
				t.Fatalf("%q: error %v, but %q passed on", answer, err, w.Body)
			}
			return
		}
		res := reference(answer, r)
		if res == nil {
			t.Fatalf("%q: passed on %d %v, which net/http refuses", answer, w.Code, w.Header())
		}
		body, bodyErr := io.ReadAll(res.Body)
		if w.Code != res.StatusCode || !bytes.HasPrefix(body, w.Body.Bytes()) || !broken && (bodyErr != nil || len(body) != w.Body.Len()) {
			t.Errorf("%q: got %d %q, broken %v; net/http %d %q, %v", answer, w.Code, w.Body, broken, res.StatusCode, body, bodyErr)
		}
		for name, values := range w.Header() {
			if name == "Trailer" || len(values) == 0 || strings.HasPrefix(name, http.TrailerPrefix) || res.Trailer[name] != nil {
				continue
			}
			if diff := cmp.Diff(res.Header[name], values); diff != "" && name != "Content-Length" {
				t.Errorf("%q: %s (-want +got):\n%s", answer, name, diff)
			}
		}
	})
}

// reference reads the final answer as net/http does.
func reference(answer string, r *http.Request) *http.Response {
	in := bufio.NewReader(strings.NewReader(answer))
	for {
		res, err := http.ReadResponse(in, r)
		if err != nil {
			return nil
		}
		if res.StatusCode >= 200 {
			return res
		}
	}
}

// For any request exactly one request is written, and it is the one that came.
func FuzzHTTP1_Requests(f *testing.F) {
	f.Add("GET", "/a%2fb//c;d?x=1;2&y=%zz", "example.com:1", "X-A", "b", "", false)
	f.Add("POST", "//x", "a", "Connection", "close, X-B", "hello", false)
	f.Add("PUT", "http://a/?", "", "Te", "trailers", "hello", true)
	f.Add("OPTIONS", "*", "a", "Content-Length", "5", "", false)
	f.Add("GET", "/ HTTP/1.1\r\n\r\n", "a\r\nb", "X-A\r\n", "b\r\n\r\nGET / HTTP/1.1\r\n", "x", false)
	f.Add("GET", "/", "a", "Transfer-Encoding", "chunked", "0\r\n\r\n", true)
	f.Add("GET", "/", "a", "Upgrade", "h2c", "", false)
	f.Fuzz(func(t *testing.T, method, target, host, name, value, body string, chunked bool) {
		r := httptest.NewRequest(http.MethodGet, "/", strings.NewReader(body))
		r.Method, r.RequestURI, r.Host = method, target, host
		r.Header[http.CanonicalHeaderKey(name)] = []string{value}
		r.Header.Set("X-Kept", "yes")
		if chunked {
			r.ContentLength = -1
		}
		if method == http.MethodHead {
			return // Its answer has no body; that is another test.
		}
		c, _, _, err := scripted(r, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		var failed *upstream.ForwardError
		if errors.As(err, &failed) && failed.Unsendable {
			if c.got.Len() > 0 {
				t.Fatalf("unsendable, but %q was sent", &c.got)
			}
			return
		}
		sent := c.got.String()
		in := bufio.NewReader(strings.NewReader(sent))
		got, err := http.ReadRequest(in)
		if err != nil {
			t.Skip("net/http reads only some of the targets and headers that there are: ", err)
		}
		all, err := io.ReadAll(got.Body)
		if err != nil || string(all) != body || in.Buffered() > 0 {
			t.Errorf("%q: body %q, %v, and %d bytes of something else; want %q", sent, all, err, in.Buffered(), body)
		}
		if got.Method != method || !strings.HasSuffix(target, strings.TrimPrefix(got.RequestURI, "/")) && got.RequestURI != "*" || got.Host != host || got.Header.Get("X-Kept") != "yes" && !strings.Contains(strings.ToLower(value), "x-kept") {
			t.Errorf("%q: got %s %s of %s, want %s %s of %s", sent, got.Method, got.RequestURI, got.Host, method, target, host)
		}
		for _, k := range []string{"X-Kept", "Te", "Connection", "Upgrade", "Expect", http.CanonicalHeaderKey(name)} {
			delete(got.Header, k)
		}
		if extra := maps.Clone(got.Header); len(extra) > 0 {
			delete(extra, "Content-Length")
			if len(extra) > 0 {
				t.Errorf("%q has headers %v that nobody sent", sent, extra)
			}
		}
	})
}
