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

// http2Tries is how often a request is sent of which the peer says each time that
// it has not looked at it.
const http2Tries = 3

// http2Conns are the HTTP/2 connections to one peer: another one is opened when all
// carry as many requests as the peer allows. The standard library's own pool can't
// ask over a new connection who answers there, before others use it.
type http2Conns struct {
	transport *http.Transport // Makes connections; keeps none.
	verify    func(context.Context, http.RoundTripper) error

	mu      sync.Mutex
	conns   []*http2Conn
	opening *opening // Nil: none is being opened.
}

// http2Conn is one of them. Its requests are counted here, because those that wait
// for a place block the ones that have reserved one with the connection itself.
type http2Conn struct {
	*http.ClientConn
	limit    int  // Of requests; 0: the peer has not said it for certain.
	requests int  // Guarded by the mutex of all.
	closing  bool // The same: it closes with its last request.
}

// newHTTP2Conn returns a connection without a request. One that is verified has had
// the peer's settings, which come before any answer.
func newHTTP2Conn(cc *http.ClientConn, verified bool) *http2Conn {
	c := &http2Conn{ClientConn: cc}
	if verified {
		// The request that asked may end between the two calls: once.
		c.limit = max(cc.Available()+cc.InFlight(), cc.Available()+cc.InFlight())
	}
	return c
}

// hasPlace reports whether another request may be sent. The caller holds the mutex
// of all.
func (c *http2Conn) hasPlace() bool {
	if c.limit > 0 {
		return c.requests < c.limit && c.Available() > 0 // None are available after a GOAWAY.
	}
	// Requests that end between the two calls make the sum too large, seldom twice.
	return c.requests < min(c.Available()+c.InFlight(), c.Available()+c.InFlight())
}

// usedConn is the body of an answer, whose end gives the request's place back.
type usedConn struct {
	io.ReadCloser
	done func()
}

func (u usedConn) Close() error {
	err := u.ReadCloser.Close()
	u.done()
	return err
}

// opening is a connection that is being opened, by one request for all.
type opening struct {
	done chan struct{}
	err  error // Of all who wait. Valid when done is closed; nil: look again.
}

// send sends r over a connection that has room for it, and once more when the
// peer closes the connection without having looked at it. Sent is set when r's
// headers are written; it is false again when the peer certainly has not seen them.
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

// take takes a place on a connection, opening one if none has any.
func (c *http2Conns) take(ctx context.Context) (*http2Conn, error) {
	for {
		c.mu.Lock()
		c.conns = slices.DeleteFunc(c.conns, func(cc *http2Conn) bool { return cc.Err() != nil })
		if i := slices.IndexFunc(c.conns, (*http2Conn).hasPlace); i >= 0 {
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

// give gives a place back.
func (c *http2Conns) give(cc *http2Conn) {
	c.mu.Lock()
	cc.requests--
	over := cc.closing && cc.requests == 0
	c.mu.Unlock()
	if over {
		_ = cc.Close() // Nothing is lost.
	}
}

// openFor opens and verifies a connection, which the caller has a place on, and
// tells those who wait for it.
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
		if ctx.Err() == nil { // Else it is this caller's affair alone.
			o.err = err
		}
		return nil, err
	}
	used := newHTTP2Conn(cc, c.verify != nil)
	used.requests = 1
	c.conns = append(c.conns, used)
	return used, nil
}

// open opens a connection that nobody else uses.
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

// valueless is a context without values: a trace of the request is none of the
// requests by which a connection is verified.
type valueless struct{ context.Context }

func (valueless) Value(any) any { return nil }

// streamError has the shape of net/http's error of an HTTP/2 stream, which is how
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
	// goAwayUnseen is what net/http says of a request beyond the last one that the
	// peer's GOAWAY names. It exports no error for it; a test holds it to the text.
	goAwayUnseen = "http2: Transport received Server's graceful shutdown GOAWAY"
	// byPeer is the cause of a stream's error that the peer has sent, and answerTooLarge
	// that of a head beyond 64 KiB; the same holds.
	byPeer         = "received from peer"
	answerTooLarge = "http2: response header list larger than advertised limit"
	// connectionError is how it begins what it says of a peer that broke the rules of the
	// protocol, on any stream. With a head far beyond 64 KiB it does not read on either.
	connectionError = "connection error: "
)

// unseen reports whether err says that the peer has not looked at the request: it
// refused the stream, or said goodbye before it (RFC 9113, section 8.7).
func unseen(err error) bool {
	var s streamError
	if errors.As(err, &s) {
		return s.Code == refusedStream
	}
	return err.Error() == goAwayUnseen
}

// malformedHTTP2 is err, in our words if it says that the peer broke the protocol: on one
// stream, which we have reset then, or on the whole connection.
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
