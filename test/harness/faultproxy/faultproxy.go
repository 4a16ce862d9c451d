// Package faultproxy is an HTTP proxy between an agent and Consul or Nomad that fails as
// told: it refuses, waits, hangs, cuts, or answers what isn't so.
//
// It promises that what no fault fits passes unchanged, event streams and blocking queries
// included. It refuses to know what a fault means for Wadi.
package faultproxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// emptyHold is how long an empty answer to a blocking query takes, so that its caller
// doesn't ask without a pause.
const emptyHold = time.Second

// maxBody bounds the answers that are rewritten.
const maxBody = 64 << 20

// Fault is what the proxy does wrong. Of its fields those that are set count.
type Fault struct {
	Match func(*http.Request) bool // Which requests; nil: all.
	Times int                      // How often; 0 is always.

	Delay    time.Duration // It waits before all else.
	Hang     bool          // It is silent until other faults replace it.
	Drop     bool          // It closes the connection without an answer.
	Status   int           // It answers with this status and the text in Body.
	Body     string
	Empty    bool   // Lists have no entries and keys no values; the index is the real one.
	Index    uint64 // The answer's index, of Consul and Nomad.
	CutAfter int    // It closes the connection after so many bytes of the body.

	used int           // Guarded by the proxy's mutex.
	over chan struct{} // Closed when other faults replace it.
}

// Proxy is a running proxy.
type Proxy struct {
	Addr string // host:port

	server *http.Server
	done   chan struct{} // Closed when the server has ended.

	mu      sync.Mutex // Guards the fields below.
	faults  []*Fault
	running map[*running]struct{}
	met     int
}

// running is a request that isn't answered yet.
type running struct {
	req    *http.Request
	cancel context.CancelFunc
}

// Start runs a proxy in front of host:port.
func Start(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	p := &Proxy{Addr: l.Addr().String(), done: make(chan struct{}), running: map[*running]struct{}{}}
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: target})
			if f := of(r.In); f != nil && f.Empty {
				unblock(r.Out)
			}
		},
		FlushInterval:  -1,
		Transport:      transport,
		ModifyResponse: modify,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:       log.New(io.Discard, "", 0),
	}
	p.server = &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { p.serve(w, req, forward) }),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	go func() {
		defer close(p.done)
		_ = p.server.Serve(l) // Ends with Close.
		transport.CloseIdleConnections()
	}()
	return p, nil
}

// Set replaces all faults; without arguments the proxy is well again. Of several that fit,
// the first one counts. Requests that hang are cut, and so are running ones that a new
// fault fits: else a blocking query would not meet it for minutes.
func (p *Proxy) Set(faults ...Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.faults {
		close(f.over)
	}
	p.faults, p.met = nil, 0
	for _, f := range faults {
		f.over = make(chan struct{})
		p.faults = append(p.faults, &f)
	}
	for r := range p.running {
		for _, f := range p.faults {
			if f.fits(r.req) {
				r.cancel()
			}
		}
	}
}

// Met is how many requests have met a fault since Set.
func (p *Proxy) Met() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.met
}

// Running is how many requests aren't answered yet.
func (p *Proxy) Running() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.running)
}

// Close ends the proxy and all that runs through it.
func (p *Proxy) Close() error {
	p.Set()
	err := p.server.Close()
	<-p.done
	return err
}

func (f *Fault) fits(req *http.Request) bool {
	return (f.Match == nil || f.Match(req)) && (f.Times == 0 || f.used < f.Times)
}

type key struct{}

// of is the fault that a request has met; nil: none.
func of(req *http.Request) *Fault {
	f, _ := req.Context().Value(key{}).(*Fault)
	return f
}

// enter notes a request, and returns it with its fault.
func (p *Proxy) enter(req *http.Request) (*http.Request, *Fault, func()) {
	ctx, cancel := context.WithCancel(req.Context())
	p.mu.Lock()
	defer p.mu.Unlock()
	var met *Fault
	for _, f := range p.faults {
		if f.fits(req) {
			f.used++
			p.met++
			met = f
			break
		}
	}
	r := &running{req: req, cancel: cancel}
	p.running[r] = struct{}{}
	leave := func() {
		cancel()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.running, r)
	}
	return req.WithContext(context.WithValue(ctx, key{}, met)), met, leave
}

func (p *Proxy) serve(w http.ResponseWriter, req *http.Request, forward http.Handler) {
	req, f, leave := p.enter(req)
	defer leave()
	if f == nil {
		forward.ServeHTTP(w, req)
		return
	}
	if f.Empty && req.URL.Query().Get("index") != "" {
		wait(req.Context(), emptyHold, f.over)
	}
	if f.Delay > 0 {
		wait(req.Context(), f.Delay, f.over)
	}
	switch {
	case f.Hang:
		_, _ = io.Copy(io.Discard, req.Body) // With the body read, a caller that leaves is noticed.
		wait(req.Context(), time.Hour, f.over)
		panic(http.ErrAbortHandler)
	case f.Drop:
		panic(http.ErrAbortHandler)
	case f.Status != 0:
		_, _ = io.Copy(io.Discard, req.Body)
		http.Error(w, f.Body, f.Status)
	default:
		forward.ServeHTTP(w, req)
	}
}

// wait waits, at most until ctx or the fault ends.
func wait(ctx context.Context, d time.Duration, over <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-over:
	case <-ctx.Done():
	}
}

// unblock makes a blocking query one that is answered at once.
func unblock(req *http.Request) {
	q := req.URL.Query()
	q.Del("index")
	q.Del("wait")
	req.URL.RawQuery = q.Encode()
}

// modify does to an answer what the request's fault asks for.
func modify(res *http.Response) error {
	f := of(res.Request)
	if f == nil {
		return nil
	}
	if f.Index != 0 {
		for _, h := range []string{"X-Consul-Index", "X-Nomad-Index"} {
			if res.Header.Get(h) != "" {
				res.Header.Set(h, strconv.FormatUint(f.Index, 10))
			}
		}
	}
	if f.CutAfter > 0 {
		res.Body = &cut{ReadCloser: res.Body, left: f.CutAfter}
	}
	if f.Empty {
		return empty(res)
	}
	return nil
}

// objects are the paths of lists that are JSON objects.
var objects = map[string]bool{"/v1/catalog/services": true, "/v1/agent/services": true, "/v1/agent/checks": true}

// empty takes everything out of an answer that is a list, or a value of Consul's store.
func empty(res *http.Response) error {
	path := res.Request.URL.Path
	if res.Request.Method != http.MethodGet || res.StatusCode != http.StatusOK || strings.HasPrefix(path, "/v1/event/stream") {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	_ = res.Body.Close() // It was read.
	text := bytes.TrimSpace(body)
	switch {
	case strings.HasPrefix(path, "/v1/kv/"):
		body, res.StatusCode, res.Status = nil, http.StatusNotFound, "404 Not Found"
	case bytes.HasPrefix(text, []byte("[")):
		body = []byte("[]")
	case objects[path]:
		body = []byte("{}")
	}
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	res.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

// cut is a body that ends too early.
type cut struct {
	io.ReadCloser
	left int
}

var errCut = errors.New("cut")

func (c *cut) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, errCut
	}
	n, err := c.ReadCloser.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// Writes fits requests that change something, in Consul: reads of a prefix by transaction
// count too.
func Writes(req *http.Request) bool {
	return req.Method == http.MethodPut || req.Method == http.MethodPost || req.Method == http.MethodDelete
}

// Under fits requests whose path begins with one of the prefixes.
func Under(prefixes ...string) func(*http.Request) bool {
	return func(req *http.Request) bool {
		for _, p := range prefixes {
			if strings.HasPrefix(req.URL.Path, p) {
				return true
			}
		}
		return false
	}
}

// All fits what all of them fit.
func All(of ...func(*http.Request) bool) func(*http.Request) bool {
	return func(req *http.Request) bool {
		for _, f := range of {
			if !f(req) {
				return false
			}
		}
		return true
	}
}
