package activator_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy/activator"
)

// says is an app that answers with these bytes, whatever they are, and closes.
func says(raw string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(conn, raw)
		_ = conn.Close()
	}
}

// unsized is a body of unknown length.
func unsized(s string) io.Reader { return struct{ io.Reader }{strings.NewReader(s)} }

// The first instance that gets the request fails; what it gets a second time is
// answered well. See the rule in [upstream.ForwardError.Retryable].
func TestRetryRule(t *testing.T) {
	abort := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	afterBody := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	}
	misdirected := func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.WriteHeader(http.StatusMisdirectedRequest)
	}
	for name, tt := range map[string]struct {
		method string
		body   io.Reader
		app    http.HandlerFunc
		want   int // The status; 0: the answer breaks off.
		sent   int
	}{
		"broken before the first byte, GET":             {"GET", nil, abort, 200, 2},
		"broken before the first byte, HEAD":            {"HEAD", nil, abort, 200, 2},
		"broken before the first byte, DELETE":          {"DELETE", nil, abort, 200, 2},
		"broken before the first byte, POST":            {"POST", nil, abort, 502, 1},
		"broken before the first byte, PATCH":           {"PATCH", nil, abort, 502, 1},
		"broken before the first byte, PUT with a body": {"PUT", strings.NewReader("body"), afterBody, 502, 1},
		"broken before the first byte, unsized body":    {"PUT", unsized("body"), afterBody, 502, 1},
		"broken in the status line, GET":                {"GET", nil, says("HTTP/1.1 2"), 502, 1},
		"broken in the headers, GET":                    {"GET", nil, says("HTTP/1.1 200 OK\r\nContent-Le"), 502, 1},
		"no HTTP, GET":                                  {"GET", nil, says("hello\r\n\r\n"), 502, 1},
		"broken in mid-stream, GET":                     {"GET", nil, says("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"), 0, 1},
		"broken in mid-stream, chunked":                 {"GET", nil, says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"), 0, 1},
		"421 of a queue-proxy, GET":                     {"GET", nil, misdirected, 200, 2},
		"421 of a queue-proxy, POST":                    {"POST", nil, misdirected, 200, 2},
		"503 of an instance is an answer":               {"GET", nil, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, 503, 1},
		"421 of an app is an answer": {"GET", nil, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(wadi.HeaderInstance, r.Header.Get(wadi.HeaderInstance))
			w.WriteHeader(http.StatusMisdirectedRequest)
		}, 421, 1},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, settings())
			var sent atomic.Int32
			app := func(w http.ResponseWriter, r *http.Request) {
				if sent.Add(1) == 1 {
					tt.app(w, r)
				}
			}
			one, two := newBackend(t, "alloc-1"), newBackend(t, "alloc-2")
			one.app, two.app = app, app
			g.place(one.ep, two.ep)
			got := g.do(g.request(t, tt.method, "/", tt.body))
			if got.status != tt.want && tt.want != 0 || tt.want == 0 && got.err == nil {
				t.Errorf("got %v, want status %d", got, tt.want)
			}
			if n := int(sent.Load()); n != tt.sent {
				t.Errorf("it was sent %d times, want %d", n, tt.sent)
			}
			if got.status == 502 && (got.header.Get(activator.HeaderError) != activator.CodeUpstream || strings.Contains(got.body, "127.0.0.1")) {
				t.Errorf("got %v, want no address in it", got)
			}
			if n := g.gauge(t, "wadi_activator_retries_total"); int(n) != tt.sent-1 {
				t.Errorf("%v retries counted, want %d", n, tt.sent-1)
			}
		})
	}
}

// A refused dial costs no method its request, and no byte of its body.
func TestRetryRule_Refused(t *testing.T) {
	for name, body := range map[string]io.Reader{"sized": strings.NewReader("the body"), "unsized": unsized("the body"), "none": nil} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, settings())
			echo := func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }
			one, two := newBackend(t, "alloc-1"), newBackend(t, "alloc-2")
			// Nothing is kept: the next request has to dial.
			one.app = func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") }
			two.app = echo
			g.place(one.ep)
			if got := g.get(t); got.status != 200 {
				t.Fatalf("got %v", got)
			}
			one.stop()
			done := make(chan answer)
			go func() { done <- g.do(g.request(t, http.MethodPost, "/", body)) }()
			g.waiting(t, 1)
			g.place(one.ep, two.ep)
			want := ""
			if body != nil {
				want = "the body"
			}
			if got := <-done; got.status != 200 || got.body != want {
				t.Errorf("got %v, want %q", got, want)
			}
			if n := g.gauge(t, "wadi_activator_retries_total"); n != 1 {
				t.Errorf("%v retries counted, want one", n)
			}
		})
	}
}

// Two that fail are enough: the third is not asked.
func TestRetryRule_Once(t *testing.T) {
	g := newRig(t, settings())
	var sent atomic.Int32
	for _, name := range []string{"a", "b", "c"} {
		b := newBackend(t, name)
		b.app = func(http.ResponseWriter, *http.Request) { sent.Add(1); panic(http.ErrAbortHandler) }
		eps, _ := g.Endpoints(revision)
		g.place(append(eps, b.ep)...)
	}
	wantRefusal(t, g.get(t), 502, "instance_failed", "")
	if n := sent.Load(); n != 2 {
		t.Errorf("it was sent %d times, want twice", n)
	}
}

var errBroken = errors.New("broken")

// brokenReader is a body that ends in an error.
type brokenReader struct{ io.Reader }

func (b brokenReader) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = errBroken
	}
	return n, err
}

// A client whose body breaks off is not answered by another instance, and the
// instance that has a part of it stays in rotation.
func TestRetryRule_ClientBreaks(t *testing.T) {
	g := newRig(t, settings())
	b := newBackend(t, "alloc-1")
	b.app = func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }
	g.place(b.ep)
	g.get(t)
	if got := g.do(g.request(t, http.MethodPut, "/", brokenReader{strings.NewReader("half")})); got.err == nil {
		t.Errorf("got %v", got)
	}
	until(t, "nothing in flight", func() bool { return g.gauge(t, "wadi_activator_in_flight_requests") == 0 })
	if got := g.gauge(t, "wadi_activator_retries_total"); got != 0 {
		t.Errorf("%v retries, want none", got)
	}
	if d := g.act.Snapshot(); d.Revisions[0].Instances[0].State != "ready" {
		t.Errorf("got %+v, want the instance still ready", d.Revisions[0].Instances[0])
	}
}

// An instance whose app answers with nonsense is alive, and stays in rotation.
func TestNonsenseStaysInRotation(t *testing.T) {
	g := newRig(t, settings())
	b := newBackend(t, "alloc-1")
	g.place(b.ep)
	if got := g.get(t); got.status != 200 {
		t.Fatalf("got %v", got)
	}
	b.set(func(b *backend) { b.app = says("HTTP/1.1 twohundred\r\n\r\n") })
	for range 10 {
		wantRefusal(t, g.get(t), 502, "instance_failed", "")
	}
	if n := g.gauge(t, "wadi_activator_queue_duration_seconds"); n != 1 {
		t.Errorf("%v requests waited, want the first alone", n)
	}
}
