package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi"
)

// Bounds of the copies of an agent. What exceeds them is not copied, and counted.
const (
	maxServiceCopies = 64               // Of one service, under way at once, those that wait for an instance included.
	maxCopies        = 256              // Of all services, under way at once.
	maxCopyBytes     = 16 << 20         // Of headers and bodies that are held.
	maxCopyBody      = 64 << 10         // Of one request's body.
	maxCopyAnswer    = 1 << 20          // Of one answer's body that are read.
	copyTime         = 10 * time.Second // A copy may take, the wait for an instance included.
	copyOverhead     = 1 << 10          // Bytes counted for each copy besides its header and body.
)

// A service's copies may come every copyEvery, and copyBurst earlier than that.
const (
	copyEvery = time.Second / 200
	copyBurst = time.Second / 4
)

// The results of copies, as they are counted.
const (
	copyAnswered = "answered" // By the app, whatever it said.
	copyFailed   = "failed"   // Wadi refused it, or the answer broke off.
	copyLate     = "timeout"  // It took too long.
	copyCut      = "cut"      // The rest of the answer was not read.
	copyStopped  = "stopped"  // The agent stops.
	copyBusy     = "busy"     // Not sent: too many were under way.
	copyRate     = "rate"     // Not sent: too many in a short time.
	copyMemory   = "memory"   // Not sent: too many bytes were held.
	copyBody     = "body"     // Not sent: the body was too long, or did not come to its end.
)

// mirror says which requests of a row are copied.
type mirror struct {
	revision string // That gets the copies.
	share    int    // Of the other revisions' requests, in hundredths of a percent.
	methods  []string
}

// newMirror returns nil where nothing is copied.
func newMirror(route wadi.Route) *mirror {
	m := route.Mirror
	if m == nil || m.Percent <= 0 {
		return nil
	}
	i := slices.IndexFunc(route.Targets, func(t wadi.RouteTarget) bool { return t.Tag == m.Tag })
	if i < 0 || m.Tag == "" {
		return nil
	}
	out := &mirror{route.Targets[i].Revision, wadi.WeightOfPercent(m.Percent), m.Methods}
	if len(out.methods) == 0 {
		out.methods = wadi.SafeMethods()
	}
	return out
}

// equal reports whether two rows copy alike; either may be nil.
func (m *mirror) equal(other *mirror) bool {
	if m == nil || other == nil {
		return m == other
	}
	return m.revision == other.revision && m.share == other.share && slices.Equal(m.methods, other.methods)
}

// wants draws whether a request to a revision is copied. One that changes the protocol is not:
// what would follow is no request.
func (m *mirror) wants(r *http.Request, revision string) bool {
	return revision != m.revision && slices.Contains(m.methods, r.Method) && r.Header["Upgrade"] == nil &&
		rand.IntN(wadi.WeightAll) < m.share
}

// copies is the copies of all requests that are under way. Its methods may be called from any
// goroutine, and none waits.
type copies struct {
	serve  func(w http.ResponseWriter, r *http.Request, service, revision string)
	ctx    context.Context // Of every copy.
	stop   context.CancelFunc
	result *prometheus.CounterVec
	log    hclog.Logger
	held   atomic.Int64 // Bytes.

	mu  sync.Mutex
	all int
	of  map[string]*serviceCopies
}

// serviceCopies is what is known of the copies of one service.
type serviceCopies struct {
	underWay int
	next     time.Time // When the next copy is due; one may come copyBurst before.
}

func newCopies(serve func(http.ResponseWriter, *http.Request, string, string), log hclog.Logger) *copies {
	c := &copies{serve: serve, log: log, of: map[string]*serviceCopies{}, result: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wadi_gateway_mirrored_requests_total", Help: "Copies of requests: how they ended, or why they were not sent.",
	}, []string{"result"})}
	c.ctx, c.stop = context.WithCancel(context.Background())
	return c
}

func (c *copies) count(result string) { c.result.WithLabelValues(result).Inc() }

// inTime reports whether a service may have another copy now, and counts it.
func (c *copies) inTime(service string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.of[service]
	if s == nil {
		s = &serviceCopies{}
		c.of[service] = s
	}
	if s.next.Sub(now) > copyBurst {
		return false
	}
	if s.next.Before(now) {
		s.next = now
	}
	s.next = s.next.Add(copyEvery)
	return true
}

// enter counts a copy of a service in, unless as many as may be are under way.
func (c *copies) enter(service string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.of[service]
	if s == nil || s.underWay >= maxServiceCopies || c.all >= maxCopies {
		return false
	}
	s.underWay++
	c.all++
	return true
}

func (c *copies) leave(service string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of[service].underWay--
	c.all--
}

// forget drops what is known of services without a copy for long, so that it is bounded by
// the services that have a mirror.
func (c *copies) forget(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.of, func(_ string, s *serviceCopies) bool { return s.underWay == 0 && s.next.Before(now) })
}

// hold counts bytes, unless that are too many.
func (c *copies) hold(n int) bool {
	if c.held.Add(int64(n)) > maxCopyBytes {
		c.held.Add(int64(-n))
		return false
	}
	return true
}

// begin copies r, which is about to be served, to the mirror's revision: at once if it has no
// body, else when its body has been read to its end. The returned function ends r's part in
// it, and must be called when r is served; nil: there is nothing to end.
func (c *copies) begin(m *mirror, service string, r *http.Request, now time.Time) (end func()) {
	if r.ContentLength > maxCopyBody {
		c.count(copyBody)
		return nil
	}
	if !c.inTime(service, now) {
		c.count(copyRate)
		return nil
	}
	size := copyOverhead + sizeOf(r)
	if !c.hold(size) {
		c.count(copyMemory)
		return nil
	}
	d := &duplicate{of: c, service: service, revision: m.revision, request: copyOf(r), held: size}
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		d.send()
		return nil
	}
	d.length = r.ContentLength
	r.Body = &copiedBody{r.Body, d}
	return d.end
}

// sizeOf is about how many bytes of r a copy holds.
func sizeOf(r *http.Request) int {
	n := len(r.RequestURI) + len(r.Host)
	for name, values := range r.Header {
		n += len(name)
		for _, v := range values {
			n += len(v)
		}
	}
	return n
}

// copyOf is r without its body, as a request that no connection waits for. It is no part of
// its caller's trace.
func copyOf(r *http.Request) *http.Request {
	out := &http.Request{
		// Of HTTP/2, as the server of an HTTP/1 request would be told how to treat its connection.
		Method: r.Method, Proto: "HTTP/2.0", ProtoMajor: 2, Host: r.Host, RemoteAddr: r.RemoteAddr, RequestURI: r.RequestURI,
		Header: r.Header.Clone(), Body: http.NoBody,
	}
	u := *r.URL
	out.URL = &u
	for _, name := range []string{"Expect", "Trailer", "Traceparent", "Tracestate", "Baggage"} {
		delete(out.Header, name)
	}
	out.Header[wadi.HeaderMirror] = []string{"1"}
	return out
}

// duplicate is one copy on its way.
type duplicate struct {
	of                *copies
	service, revision string
	request           *http.Request
	length            int64 // Of the body; -1: unknown.

	mu   sync.Mutex
	body []byte
	held int  // Bytes that are counted.
	over bool // It was sent or given up.
}

// copiedBody is a body whose bytes a duplicate gets too.
type copiedBody struct {
	io.ReadCloser
	to *duplicate
}

func (b *copiedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.to.take(p[:n], err)
	return n, err
}

// take adds what was read of the body, and sends the duplicate at its end.
func (d *duplicate) take(p []byte, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.over:
	case len(d.body)+len(p) > maxCopyBody, err != nil && !errors.Is(err, io.EOF):
		d.giveUp(copyBody)
	case !d.of.hold(len(p)):
		d.giveUp(copyMemory)
	default:
		d.held += len(p)
		d.body = append(d.body, p...)
		if err != nil || int64(len(d.body)) == d.length {
			d.over = true
			d.request.Body, d.request.ContentLength = io.NopCloser(bytes.NewReader(d.body)), int64(len(d.body))
			d.send()
		}
	}
}

// end gives the duplicate up if it was not sent: its body was not read to its end.
func (d *duplicate) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.over {
		d.giveUp(copyBody)
	}
}

// giveUp ends a duplicate that is not sent.
func (d *duplicate) giveUp(why string) {
	d.over, d.body = true, nil
	d.of.held.Add(int64(-d.held))
	d.of.count(why)
}

// send has the duplicate served on a goroutine of its own, unless too many are.
func (d *duplicate) send() {
	if !d.of.enter(d.service) {
		d.giveUp(copyBusy)
		return
	}
	go func() { // It ends within copyTime, or with the gateway's copies.
		defer d.of.leave(d.service)
		defer d.of.held.Add(int64(-d.held))
		d.of.count(d.run())
	}()
}

// run has the duplicate served, and returns the result.
func (d *duplicate) run() (result string) {
	ctx, cancel := context.WithTimeout(d.of.ctx, copyTime)
	defer cancel()
	w := &nowhere{header: http.Header{}}
	defer func() {
		// An answer that breaks off ends by a panic, as for a server. Of a mistake in Wadi the
		// server of a request would save the process too.
		panicked := recover()
		if panicked != nil && panicked != http.ErrAbortHandler {
			d.of.log.Error("a copy of a request failed by a mistake", "service", d.service, "panic", panicked, "stack", string(debug.Stack()))
		}
		switch {
		case d.of.ctx.Err() != nil:
			result = copyStopped
		case ctx.Err() != nil:
			result = copyLate
		case w.read > maxCopyAnswer:
			result = copyCut
		case panicked != nil || w.header[wadi.HeaderError] != nil:
			result = copyFailed
		default:
			result = copyAnswered
		}
	}()
	d.of.serve(w, d.request.WithContext(ctx), d.service, d.revision)
	return ""
}

// errLong ends an answer that is longer than what is read.
var errLong = errors.New("the rest of the answer is not read")

// nowhere is an answer that is thrown away.
type nowhere struct {
	header http.Header
	read   int
}

func (w *nowhere) Header() http.Header { return w.header }
func (w *nowhere) WriteHeader(int)     {}
func (w *nowhere) Flush()              {}

func (w *nowhere) Write(p []byte) (int, error) {
	if w.read += len(p); w.read > maxCopyAnswer {
		return 0, errLong
	}
	return len(p), nil
}
