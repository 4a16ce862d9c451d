package main

import (
	"bufio"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wadi-run/wadi/test/apps/launch"
)

// app is the handlers' shared state.
type app struct {
	inside atomic.Int32 // Requests in /alone.

	mu    sync.Mutex
	order []string                 // The requests of /hold, by arrival.
	keys  map[string]chan struct{} // Closed: /go has come.
}

func newApp() *app { return &app{keys: map[string]chan struct{}{}} }

func (a *app) handler() http.Handler {
	mux := map[string]http.HandlerFunc{
		"/uri": uri, "/count": count, "/bytes": send, "/trailers": trailers, "/hints": hints, "/early": early,
		"/duplex": duplex, "/events": a.events, "/hold": a.hold, "/go": a.release, "/order": a.came,
		"/alone": a.alone, "/sleep": sleep, "/half": half, "/die": die, "/hop": hop, "/switch": switched,
		"/healthz": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") },
	}
	// Not a ServeMux: it redirects paths that are not clean.
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := mux[r.URL.Path]; h != nil {
			h(w, r)
			return
		}
		uri(w, r)
	})
}

func uri(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s %s %s\nHost: %s\nLength: %d\nEncoding: %s\n", r.Method, r.RequestURI, r.Proto, r.Host, r.ContentLength, strings.Join(r.TransferEncoding, ","))
	_ = r.Header.Write(w) // The caller sees what is missing.
}

func count(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("refuse") == "1" {
		http.Error(w, "no", http.StatusExpectationFailed)
		return
	}
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	n, err := io.CopyBuffer(struct{ io.Writer }{sum}, r.Body, make([]byte, 256<<10))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%d %08x", n, sum.Sum32())
}

// send answers n bytes; each is its offset, in blocks of a prime length.
func send(w http.ResponseWriter, r *http.Request) {
	left, err := strconv.ParseInt(r.URL.Query().Get("n"), 10, 64)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Length", strconv.FormatInt(left, 10))
	block := make([]byte, 65521)
	for i := range block {
		block[i] = byte(i)
	}
	for left > 0 {
		n, err := w.Write(block[:min(left, int64(len(block)))])
		if err != nil {
			return
		}
		left -= int64(n)
	}
}

func trailers(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Trailer", "Sum, Came")
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprint(w, "body")
	w.Header().Set("Sum", strconv.FormatInt(n, 10))
	w.Header().Set("Came", r.Trailer.Get("X-Tail"))
}

func hints(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Link", "</style.css>; rel=preload")
	w.WriteHeader(http.StatusEarlyHints)
	w.Header().Del("Link")
	fmt.Fprint(w, "after the hints")
}

func early(w http.ResponseWriter, _ *http.Request) {
	_ = http.NewResponseController(w).EnableFullDuplex() // Else net/http would read the body before it answers.
	http.Error(w, "not you", http.StatusForbidden)
}

func duplex(w http.ResponseWriter, r *http.Request) {
	c := http.NewResponseController(w)
	_ = c.EnableFullDuplex() // HTTP/2 has it anyway.
	w.WriteHeader(http.StatusOK)
	_ = c.Flush()
	for lines := bufio.NewScanner(r.Body); lines.Scan(); {
		fmt.Fprintf(w, "%s!\n", lines.Text())
		_ = c.Flush() // The caller misses the line then.
	}
}

// key is the channel of a request's key.
func (a *app) key(r *http.Request) chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	name := r.URL.Query().Get("key")
	if a.keys[name] == nil {
		a.keys[name] = make(chan struct{})
	}
	return a.keys[name]
}

func wait(ctx context.Context, c chan struct{}) {
	select {
	case <-c:
	case <-ctx.Done():
	}
}

func (a *app) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, "data: one\n\n")
	_ = http.NewResponseController(w).Flush()
	wait(r.Context(), a.key(r))
	fmt.Fprint(w, "data: two\n\n")
}

func (a *app) hold(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.order = append(a.order, r.URL.Query().Get("name"))
	a.mu.Unlock()
	wait(r.Context(), a.key(r))
	fmt.Fprint(w, "held")
}

func (a *app) release(_ http.ResponseWriter, r *http.Request) { close(a.key(r)) }

func (a *app) came(w http.ResponseWriter, _ *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	fmt.Fprint(w, strings.Join(a.order, " "))
}

func (a *app) alone(w http.ResponseWriter, r *http.Request) {
	defer a.inside.Add(-1)
	if n := a.inside.Add(1); n > 1 {
		http.Error(w, fmt.Sprintf("%d at once", n), http.StatusInternalServerError)
		return
	}
	sleep(w, r)
}

func sleep(w http.ResponseWriter, r *http.Request) {
	d, err := time.ParseDuration(r.URL.Query().Get("for"))
	if err == nil {
		launch.Pause(r.Context(), d)
	}
	fmt.Fprint(w, "ok")
}

func half(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Length", "8")
	fmt.Fprint(w, "half")
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

func die(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("chunked") == "" {
		w.Header().Set("Content-Length", "8")
	}
	fmt.Fprint(w, "half")
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func hop(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Connection", "X-Secret")
	h.Set("X-Secret", "1")
	h.Set("Keep-Alive", "timeout=9")
	h.Set("Proxy-Connection", "keep-alive")
	h.Set("X-Open", "1")
	h.Set("Wadi-Error", "mine") // Reserved for Wadi, as is the next.
	h.Set("Wadi-Revision", "mine")
	fmt.Fprint(w, "hop")
}

func switched(w http.ResponseWriter, r *http.Request) {
	c, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer c.Close()
	fmt.Fprintf(buf, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\nhello\n", r.Header.Get("Upgrade"))
	_ = buf.Flush() // An error is met again below.
	if _, err := io.Copy(c, buf); err != nil {
		return
	}
	fmt.Fprint(c, "bye\n")
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.CloseWrite() // And then for good.
	}
}
