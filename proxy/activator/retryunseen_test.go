package activator_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wadi-run/wadi"
)

// misdirect answers as a queue-proxy does whose app gets nothing of a request. It has
// come with its body by then.
func misdirect(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.WriteHeader(http.StatusMisdirectedRequest)
}

// reluctant is an instance whose app gets a request only when it was sent n times.
func reluctant(t *testing.T, alloc string, n int32, app http.HandlerFunc) (*backend, *atomic.Int32) {
	t.Helper()
	var sent atomic.Int32
	b := newBackend(t, alloc)
	b.app = func(w http.ResponseWriter, r *http.Request) {
		if sent.Add(1) <= n {
			misdirect(w, r)
			return
		}
		app(w, r)
	}
	return b, &sent
}

// What no app has seen is sent until one takes it, whatever its method and its body,
// if there is only one instance too.
func TestUnseen_Waits(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = w.Write(append([]byte(r.Method+" "), body...))
	}
	for name, tt := range map[string]struct {
		method, body string
		unsized      bool
	}{
		"GET":                      {"GET", "", false},
		"POST":                     {"POST", "", false},
		"POST, with a body":        {"POST", "the body", false},
		"PATCH, of unknown length": {"PATCH", "the body", true},
		"PUT, all that is kept":    {"PUT", strings.Repeat("0123456789abcdef", 1<<10), false},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, settings())
			b, sent := reluctant(t, "alloc-1", 4, echo)
			g.place(b.ep)
			var body io.Reader
			if tt.body != "" {
				body = strings.NewReader(tt.body)
			}
			if tt.unsized {
				body = unsized(tt.body)
			}
			if got := g.do(g.request(t, tt.method, "/", body)); got.status != 200 || got.body != tt.method+" "+tt.body {
				t.Errorf("got %.200v, want the echo of %d bytes", got, len(tt.body))
			}
			if n := sent.Load(); n != 5 {
				t.Errorf("it was sent %d times, want 5", n)
			}
		})
	}
}

// The start of a long body can't be sent again once it has gone.
func TestUnseen_LongBody(t *testing.T) {
	g := newRig(t, settings())
	b := newBackend(t, "alloc-1")
	b.app = misdirect
	g.place(b.ep)
	got := g.do(g.request(t, "POST", "/", bytes.NewReader(make([]byte, 2<<20))))
	wantRefusal(t, got, 502, "instance_failed", "no instance took the request")
}

// It waits for as long as a request may wait at zero, and not in a busy loop.
func TestUnseen_Expires(t *testing.T) {
	for name, tt := range map[string]struct {
		queue, request time.Duration
		code           string
	}{
		"the queue's time":   {time.Second, time.Minute, "queue_timeout"},
		"the request's time": {time.Minute, time.Second, "request_timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			set := settings()
			set.Queue.Timeout, set.Timeout.Request = wadi.Duration(tt.queue), wadi.Duration(tt.request)
			g := newRig(t, set)
			b, sent := reluctant(t, "alloc-1", 1<<30, nil)
			g.place(b.ep)
			wantRefusal(t, g.do(g.request(t, "POST", "/", strings.NewReader("the body"))), 504, tt.code, "")
			// 0, 10, 20, 40 … ms apart: more would mean that nothing is between them.
			if n := sent.Load(); n < 3 || n > 10 {
				t.Errorf("it was sent %d times in a second, want 3 to 10", n)
			}
		})
	}
}

// Those that no app has seen don't count for what one may have seen: that is sent
// again once, before and after.
func TestUnseen_AndSeen(t *testing.T) {
	for name, tt := range map[string]struct {
		method string
		steps  string // What becomes of the request each time; m: misdirected, b: broken off, a: answered.
		status int
	}{
		"broken off once, then unseen": {"GET", "bmmma", 200},
		"unseen, then broken off once": {"GET", "mmmba", 200},
		"broken off twice":             {"GET", "mbmmb", 502},
		"POST":                         {"POST", "mmmb", 502},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, settings())
			var sent atomic.Int32
			app := func(w http.ResponseWriter, r *http.Request) {
				switch tt.steps[sent.Add(1)-1] {
				case 'm':
					misdirect(w, r)
				case 'b':
					panic(http.ErrAbortHandler)
				}
			}
			one, two := newBackend(t, "alloc-1"), newBackend(t, "alloc-2")
			one.app, two.app = app, app
			g.place(one.ep, two.ep)
			if got := g.do(g.request(t, tt.method, "/", nil)); got.status != tt.status {
				t.Errorf("got %v, want status %d", got, tt.status)
			}
			if n := int(sent.Load()); n != len(tt.steps) {
				t.Errorf("it was sent %d times, want %d", n, len(tt.steps))
			}
		})
	}
}
