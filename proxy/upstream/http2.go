package upstream

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/wadi-run/wadi/proxy/replay"
)

// http2Tries is how often a request is sent if the peer says each time that it has not
// processed it.
const http2Tries = 3

// http2Conns are the HTTP/2 connections to one peer: another connection is opened when all
// carry as many requests as the peer allows. The standard library's own pool can't verify a
// new connection before other requests use it.
type http2Conns struct {
	transport *http.Transport // Makes connections; keeps none.
	verify    func(context.Context, http.RoundTripper) error

	mu      sync.Mutex
	conns   []*http2Conn
	opening *opening // Nil: none is being opened.
}

// http2Conn is one of them. Its requests are counted here: with net/http's own reservations,
// requests that wait for a stream block those that have reserved one.
type http2Conn struct {
	*http.ClientConn
	limit    int  // Of requests; 0: not known for certain.
	requests int  // Guarded by the mutex of http2Conns.
	closing  bool // The same: it closes with its last request.
}

// newHTTP2Conn returns a connection without a request. If it is verified the peer's settings
// have come: they precede any answer.
func newHTTP2Conn(cc *http.ClientConn, verified bool) *http2Conn {
	c := &http2Conn{ClientConn: cc}
	if verified {
		// The verifying request may end between the two calls, once.
		c.limit = max(cc.Available()+cc.InFlight(), cc.Available()+cc.InFlight())
	}
	return c
}

// hasSlot reports whether another request may be sent. The caller holds the mutex of
// http2Conns.
func (c *http2Conn) hasSlot() bool {
	if c.limit > 0 {
		return c.requests < c.limit && c.Available() > 0 // None are available after a GOAWAY.
	}
	// A request that ends between the two calls makes the sum too large, seldom twice.
	return c.requests < min(c.Available()+c.InFlight(), c.Available()+c.InFlight())
}

// usedConn is the body of an answer; its end gives the request's slot back.
type usedConn struct {
	io.ReadCloser
	done func()
}

func (u usedConn) Close() error {
	err := u.ReadCloser.Close()
	u.done()
	return err
}

// opening is a connection that one request opens for all that wait.
type opening struct {
	done chan struct{}
	err  error // For all that wait. Valid when done is closed; nil: try again.
}

// send sends r over a connection with a free slot, and again when the peer closes the
// connection without having processed it. Sent is set when r's header is written, and false
// again when the peer certainly has not processed it.
func (c *http2Conns) send(r *http.Request, sent *atomic.Bool) (*http.Response, error) {
	ctx := r.Context()
	var body *replay.AsyncBody
	if r.Body != nil && r.Body != http.NoBody {
		body = replay.NewAsync(r.Body)
	}
	for try := 1; ; try++ {
		cc, err := c.take(ctx)
		if err != nil {
			return nil, err
		}
		out := r
		if body != nil {
			out = r.WithContext(ctx)
			out.Body = body.Attempt()
		}
		res, err := cc.RoundTrip(out)
		if err == nil {
			res.Body = usedConn{res.Body, sync.OnceFunc(func() { c.give(cc) })}
			return res, nil
		}
		c.give(cc)
		switch {
		case ctx.Err() != nil:
			return nil, err
		case !sent.Load() && cc.Available() > 0:
			return nil, &unsendableError{err}
		case sent.Load() && !unseen(err):
			return nil, err
		}
		sent.Store(false)
		if try == http2Tries || body != nil && body.IsUsed() {
			return nil, &refusedError{err}
		}
	}
}

// take takes a slot of a connection, and opens a connection if none has a free one.
func (c *http2Conns) take(ctx context.Context) (*http2Conn, error) {
	for {
		c.mu.Lock()
		c.conns = slices.DeleteFunc(c.conns, func(cc *http2Conn) bool { return cc.Err() != nil })
		if i := slices.IndexFunc(c.conns, (*http2Conn).hasSlot); i >= 0 {
			cc := c.conns[i]
			cc.requests++
			c.mu.Unlock()
			return cc, nil
		}
		o := c.opening
		if o == nil {
			o = &opening{done: make(chan struct{})}
			c.opening = o
			c.mu.Unlock()
			return c.openFor(ctx, o)
		}
		c.mu.Unlock()
		select {
		case <-o.done:
			if o.err != nil {
				return nil, o.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// give gives a slot back.
func (c *http2Conns) give(cc *http2Conn) {
	c.mu.Lock()
	cc.requests--
	over := cc.closing && cc.requests == 0
	c.mu.Unlock()
	if over {
		_ = cc.Close() // Nothing is lost.
	}
}

// openFor opens and verifies a connection. The caller has a slot of it; the requests that
// wait for the connection go on.
func (c *http2Conns) openFor(ctx context.Context, o *opening) (*http2Conn, error) {
	cc, err := c.open(ctx)
	if err == nil && c.verify != nil {
		if err = c.verify(valueless{ctx}, cc); err != nil {
			_ = cc.Close() // The verification's error says it all.
			err = &refusedError{err}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(o.done)
	c.opening = nil
	if err != nil {
		if ctx.Err() == nil { // Else the others can still open one.
			o.err = err
		}
		return nil, err
	}
	used := newHTTP2Conn(cc, c.verify != nil)
	used.requests = 1
	c.conns = append(c.conns, used)
	return used, nil
}

// open opens a connection that no other request uses.
func (c *http2Conns) open(ctx context.Context) (*http.ClientConn, error) {
	return c.transport.NewClientConn(valueless{ctx}, "http", "peer:80") // Dialled as configured.
}

// keep takes over a connection that was verified.
func (c *http2Conns) keep(cc *http.ClientConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, newHTTP2Conn(cc, true))
}

// close closes what is idle, and the others when their requests are over.
func (c *http2Conns) close() {
	c.mu.Lock()
	conns := c.conns
	c.conns = nil
	var idle []*http2Conn
	for _, cc := range conns {
		cc.closing = true
		if cc.requests == 0 {
			idle = append(idle, cc)
		}
	}
	c.mu.Unlock()
	for _, cc := range idle {
		_ = cc.Close() // Nothing is lost.
	}
}

// valueless is a context without values: a request's trace must not get the requests by which
// a connection is verified.
type valueless struct{ context.Context }

func (valueless) Value(any) any { return nil }

// streamError has the shape of net/http's unexported error of an HTTP/2 stream, so that
// errors.As finds that.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e streamError) Error() string { return "HTTP/2 stream error" }

const (
	refusedStream   = 0x7 // RFC 9113, section 7.
	cancelledStream = 0x8
	// goAwayUnseen is net/http's error for a request beyond the last one that the peer's GOAWAY
	// names. There is no exported error; a test checks the text.
	goAwayUnseen = "http2: Transport received Server's graceful shutdown GOAWAY"
	// byPeer is the cause of a stream error that the peer has sent, and answerTooLarge that of
	// a head beyond 64 KiB; a test checks both.
	byPeer         = "received from peer"
	answerTooLarge = "http2: response header list larger than advertised limit"
	// connectionError begins net/http's error for a peer that breaks the protocol, on any
	// stream. It also stands for a head far beyond 64 KiB.
	connectionError = "connection error: "
)

// unseen reports whether err says that the peer has not processed the request: it refused the
// stream, or sent GOAWAY before it (RFC 9113, section 8.7).
func unseen(err error) bool {
	var s streamError
	if errors.As(err, &s) {
		return s.Code == refusedStream
	}
	return err.Error() == goAwayUnseen
}

// malformedHTTP2 is err, or an errMalformed if err says that the peer broke the protocol: on
// one stream, which net/http has reset then, or on the whole connection.
func malformedHTTP2(err error) error {
	var s streamError
	if errors.As(err, &s) && s.Cause != nil && s.Cause.Error() != byPeer {
		switch {
		case errors.Is(s.Cause, errMalformed):
			return s.Cause
		case s.Cause.Error() == answerTooLarge:
			return malformed("a head beyond 64 KiB")
		}
		return malformed(s.Cause.Error())
	}
	if code, broken := strings.CutPrefix(err.Error(), connectionError); broken {
		return malformed("HTTP/2 error " + code + ", as for a head beyond 64 KiB")
	}
	return err
}
