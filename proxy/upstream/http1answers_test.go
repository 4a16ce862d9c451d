package upstream_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/deadline"
	"github.com/wadi-run/wadi/proxy/proxytest"
	"github.com/wadi-run/wadi/proxy/upstream"
)

// What an app answers and what can't be an answer, or could be read in two ways:
// the caller gets nothing of it.
func TestHTTP1_MalformedAnswers(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for name, answer := range map[string]string{
		"nothing like it":               "SSH-2.0-OpenSSH_9.2\r\n\r\n",
		"HTTP/0.9":                      "<html>hello</html>",
		"HTTP/2":                        "HTTP/2.0 200 OK\r\n\r\n",
		"version 1.2":                   "HTTP/1.2 200 OK\r\n\r\n",
		"no version":                    "HTTP 200 OK\r\n\r\n",
		"lower case":                    "http/1.1 200 OK\r\n\r\n",
		"status of two digits":          "HTTP/1.1 20 OK\r\n\r\n",
		"status of four digits":         "HTTP/1.1 2000 OK\r\n\r\n",
		"status below 100":              "HTTP/1.1 099 OK\r\n\r\n",
		"status with sign":              "HTTP/1.1 +20 OK\r\n\r\n",
		"two spaces":                    "HTTP/1.1  200 OK\r\n\r\n",
		"NUL in the reason":             "HTTP/1.1 200 O\x00K\r\n\r\n",
		"bare CR in the reason":         "HTTP/1.1 200 O\rK\r\n\r\n",
		"empty line first":              "\r\n" + ok + "\r\n",
		"two lengths":                   ok + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
		"a list of lengths":             ok + "Content-Length: 5, 5\r\n\r\nhello",
		"signed length":                 ok + "Content-Length: +5\r\n\r\nhello",
		"negative length":               ok + "Content-Length: -5\r\n\r\nhello",
		"hexadecimal length":            ok + "Content-Length: 0x5\r\n\r\nhello",
		"empty length":                  ok + "Content-Length: \r\n\r\n",
		"overflowing length":            ok + "Content-Length: 18446744073709551621\r\n\r\nhello",
		"chunked and length":            ok + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
		"length and chunked":            ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"twice chunked":                 ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunked, chunked":              ok + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
		"gzip, chunked":                 ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"identity":                      ok + "Transfer-Encoding: identity\r\n\r\nhello",
		"xchunked":                      ok + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"empty coding":                  ok + "Transfer-Encoding:\r\n\r\nhello",
		"chunked in HTTP/1.0":           "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"folded line":                   ok + "X-A: b\r\n c\r\n\r\n",
		"folded first line":             ok + " X-A: b\r\n\r\n",
		"space before the colon":        ok + "X-A : b\r\n\r\n",
		"space before the length":       ok + "Content-Length : 5\r\n\r\nhello",
		"space in a name":               ok + "X A: b\r\n\r\n",
		"no colon":                      ok + "X-A\r\n\r\n",
		"no name":                       ok + ": b\r\n\r\n",
		"NUL in a value":                ok + "X-A: b\x00c\r\n\r\n",
		"bare CR in a value":            ok + "X-A: b\rX-B: c\r\n\r\n",
		"two CR":                        ok + "X-A: b\r\r\n\r\n",
		"escape in a value":             ok + "X-A: b\x1bc\r\n\r\n",
		"control character in a name":   ok + "X\x01A: b\r\n\r\n",
		"a name beyond ASCII":           ok + "X-Ä: b\r\n\r\n",
		"a huge field":                  ok + "X-A: " + strings.Repeat("a", 64<<10) + "\r\n\r\n",
		"a huge number of fields":       ok + strings.Repeat("X-A: b\r\n", 10000) + "\r\n",
		"a head that breaks off":        ok + "X-A: b\r\n",
		"a change that nobody asked":    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
		"only informational answers":    strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 100) + ok + "\r\n",
		"a malformed one after a good":  "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 2000 OK\r\n\r\n",
		"an informational one, and end": "HTTP/1.1 102 Processing\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			var failed *upstream.ForwardError
			addr := front(t, upstream.Config{Addr: answering(t, answer)}, func(w http.ResponseWriter, r *http.Request, e *upstream.ForwardError) {
				failed = e
				if e.Retryable(r) {
					t.Error("retryable, though some of an answer came")
				}
				w.WriteHeader(599)
			})
			got := roundTrip(t, addr, plainGet)
			if !strings.Contains(got, "HTTP/1.1 599 ") || strings.Contains(got, " 200 ") || failed == nil || !failed.Begun || failed.Answered {
				t.Errorf("answered %.200q, error %+v; want none of the app's answer", got, failed)
			}
		})
	}
}

// Answers that break off or go wrong in their body: the caller's stream breaks too,
// and can't be taken for whole.
func TestHTTP1_BrokenBodies(t *testing.T) {
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, answer := range map[string]string{
		"length":                      "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
		"a long length":               "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhello",
		"no end":                      chunked + "5\r\nhello\r\n",
		"in a chunk":                  chunked + "9\r\nhello",
		"no size":                     chunked + "5\r\nhello\r\n\r\n",
		"size with sign":              chunked + "+5\r\nhello\r\n0\r\n\r\n",
		"negative size":               chunked + "-5\r\nhello\r\n0\r\n\r\n",
		"size with 0x":                chunked + "0x5\r\nhello\r\n0\r\n\r\n",
		"size with space before":      chunked + " 5\r\nhello\r\n0\r\n\r\n",
		"size that overflows":         chunked + "10000000000000005\r\nhello\r\n0\r\n\r\n",
		"size that ends with LF":      chunked + "5\nhello\r\n0\r\n\r\n",
		"size of two that does":       chunked + "05\nhello\r\n0\r\n\r\n",
		"last size that does":         chunked + "5\r\nhello\r\n00\n\r\n",
		"chunk that ends with LF":     chunked + "5\r\nhello\n0\r\n\r\n",
		"chunk longer than its size":  chunked + "4\r\nhello\r\n0\r\n\r\n",
		"CR in an extension":          chunked + "5;a\rb\r\nhello\r\n0\r\n\r\n",
		"long extension":              chunked + "5;" + strings.Repeat("a", 2000) + "\r\nhello\r\n0\r\n\r\n",
		"no end of the trailers":      chunked + "5\r\nhello\r\n0\r\nX-A: b\r\n",
		"folded trailer":              chunked + "5\r\nhello\r\n0\r\nX-A: b\r\n c\r\n\r\n",
		"trailer with NUL":            chunked + "5\r\nhello\r\n0\r\nX-A: \x00\r\n\r\n",
		"trailer without colon":       chunked + "5\r\nhello\r\n0\r\nX-A\r\n\r\n",
		"trailers that are too large": chunked + "5\r\nhello\r\n0\r\n" + strings.Repeat("X-A: b\r\n", 10000) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			addr := front(t, upstream.Config{Addr: answering(t, answer)}, nil)
			got := roundTrip(t, addr, plainGet)
			res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(got)), nil)
			if err != nil {
				return // Nothing came at all: that is no answer either.
			}
			if body, err := io.ReadAll(res.Body); err == nil {
				t.Errorf("got %q, body %q, which looks whole", got, body)
			}
		})
	}
}

// What is unusual, but can be read in one way only, comes through in the usual form.
func TestHTTP1_UnusualAnswers(t *testing.T) {
	type answer struct {
		Status  int
		Header  http.Header
		Body    string
		Trailer http.Header
	}
	text := func(more ...string) http.Header {
		h := http.Header{"Connection": {"close"}}
		for i := 0; i < len(more); i += 2 {
			h[more[i]] = append(h[more[i]], more[i+1])
		}
		return h
	}
	for name, tt := range map[string]struct {
		method, answer string
		want           answer
	}{
		"no reason":            {"GET", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi", answer{200, text("Content-Length", "2"), "hi", nil}},
		"a reason of its own":  {"GET", "HTTP/1.1 299 Wie bitte\xe4?\r\nContent-Length: 2\r\n\r\nhi", answer{299, text("Content-Length", "2"), "hi", nil}},
		"lines that end in LF": {"GET", "HTTP/1.1 200 OK\nX-A: b\nContent-Length: 2\n\nhi", answer{200, text("X-A", "b", "Content-Length", "2"), "hi", nil}},
		"the same length twice": {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\ncontent-length: 2\r\n\r\nhi",
			answer{200, text("Content-Length", "2"), "hi", nil}},
		"until the end": {"GET", "HTTP/1.1 200 OK\r\n\r\nhello", answer{200, text(), "hello", nil}},
		"HTTP/1.0":      {"GET", "HTTP/1.0 200 OK\r\nX-A: b\r\n\r\nhello", answer{200, text("X-A", "b"), "hello", nil}},
		"no length of 204": {"GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
			answer{204, text(), "", nil}},
		"length of 304": {"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nEtag: \"x\"\r\n\r\n",
			answer{304, text("Etag", `"x"`), "", nil}}, // The server drops it.
		"HEAD": {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", answer{200, text("Content-Length", "5"), "", nil}},
		"chunk extensions": {"GET", "HTTP/1.1 200 OK\r\nTRANSFER-ENCODING: CHUNKED\r\n\r\n5;a=b\r\nhello\r\n00A ; c\r\n, 10 bytes\r\n000\r\n\r\n",
			answer{200, text("Content-Length", "15"), "hello, 10 bytes", nil}},
		"trailers": {"GET", "HTTP/1.1 200 OK\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-Late: 2\r\n" +
			"Content-Length: 99\r\nWadi-Instance: a\r\n\r\n",
			answer{200, text(), "hello", http.Header{"X-Sum": {"1"}, "X-Late": {"2"}}}},
		"between neighbours": {"GET", "HTTP/1.1 200 OK\r\nConnection: x-a, keep-alive, content-length\r\nX-A: b\r\nX-B: c\r\nKeep-Alive: timeout=5\r\n" +
			"Proxy-Connection: x\r\nUpgrade: h2c\r\nContent-Length: 2\r\nWadi-Instance: a\r\n\r\nhi",
			answer{200, text("X-B", "c", "Content-Length", "2"), "hi", nil}},
		"more than one value": {"GET", "HTTP/1.1 200 OK\r\nset-cookie: a\r\nVary: x\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
			answer{200, text("Set-Cookie", "a", "Vary", "x", "Set-Cookie", "b", "Content-Length", "0"), "", nil}},
		"more than the length": {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nX-Smuggled: 1\r\n\r\n",
			answer{200, text("Content-Length", "2"), "hi", nil}},
	} {
		t.Run(name, func(t *testing.T) {
			addr := front(t, upstream.Config{Addr: answering(t, tt.answer)}, nil)
			raw := roundTrip(t, addr, tt.method+" / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			rest := bufio.NewReader(strings.NewReader(raw))
			res, err := http.ReadResponse(rest, &http.Request{Method: tt.method})
			if err != nil {
				t.Fatalf("%q: %v", raw, err)
			}
			body, err := io.ReadAll(res.Body)
			if err != nil || rest.Buffered() > 0 {
				t.Errorf("%q: %v, %d bytes too many", raw, err, rest.Buffered())
			}
			res.Header.Del("Date")
			res.Header["Connection"] = []string{"close"}
			got := answer{res.StatusCode, res.Header, string(body), res.Trailer}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s\n%q", diff, raw)
			}
		})
	}
}

func TestHTTP1_ManyHints(t *testing.T) {
	app := answering(t, "HTTP/1.1 103 Early Hints\r\nLink: a\r\nWadi-Instance: x\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	addr := front(t, upstream.Config{Addr: app}, nil)
	var got []string
	r, _ := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			got = append(got, fmt.Sprint(code, h))
			return nil
		},
	}), http.MethodGet, "http://"+addr, nil)
	res, err := proxytest.Client(t, false).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if diff := cmp.Diff([]string{"103 map[Link:[a]]", "102 map[]"}, got); diff != "" || res.Header.Get("Link") != "" {
		t.Errorf("header %v, hints (-want +got):\n%s", res.Header, diff)
	}
}

// dial connects, for a conversation by hand.

// The parts of a long answer arrive as the app sends them, whether its length is
// known or not, and whatever is between it and the caller.
func TestHTTP1_PartsAtOnce(t *testing.T) {
	const part = "a part"
	for name, framing := range map[string]string{
		"length":        "Content-Length: 18",
		"a long length": "Content-Length: 100000000",
		"chunked":       "Transfer-Encoding: chunked",
		"until the end": "X-A: b",
	} {
		for _, limits := range []wadi.Timeouts{{}, {Idle: wadi.Duration(time.Hour)}} {
			t.Run(fmt.Sprintf("%s, idle %v", name, limits.Idle.D()), func(t *testing.T) {
				next := make(chan struct{})
				app := rawApp(t, func(_ int, c net.Conn, in *bufio.Reader) {
					_, _ = head(in)
					_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\n%s\r\n\r\n", framing)
					for range next {
						if name == "chunked" {
							_, _ = fmt.Fprintf(c, "%x\r\n%s\r\n", len(part), part)
						} else {
							_, _ = io.WriteString(c, part)
						}
					}
				})
				u := upstream.New(upstream.Config{Addr: app, Dial: proxytest.Dialer(app)})
				t.Cleanup(u.Close)
				addr := proxytest.Serve(t, within(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_ = u.Forward(w, r) // Its answer breaks off; that is for the caller.
				}), limits).ServeHTTP)
				res, err := proxytest.Client(t, false).Get("http://" + addr)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				for i := range 3 {
					next <- struct{}{}
					got := make([]byte, len(part))
					if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != part {
						t.Fatalf("part %d: got %q, %v", i, got, err)
					}
				}
				close(next)
			})
		}
	}
}

// within serves h within limits.
func within(h http.Handler, limits wadi.Timeouts) http.Handler {
	k := deadline.NewTimer(limits)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := &deadline.Tracker{}
		defer t.End()
		h.ServeHTTP(t, k.Begin(t, w, r, time.Now()))
	})
}
