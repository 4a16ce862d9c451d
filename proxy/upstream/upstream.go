// Package upstream forwards requests to one peer, over HTTP/1.1 or HTTP/2, and keeps the
// connections to it.
//
// It promises that no body is ever held whole, that path, query and Host stay byte for byte
// what the caller sent, that a malformed answer is not passed on, and that an error says
// what the peer may have seen of the request. It sends a request again only where the
// connection broke before an answer, within the bounds of [Breaks], and refuses to choose
// another peer: what is retried elsewhere is up to the caller.
package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy"
)

// Bounds of the connections to a peer.
const (
	// DialTimeout bounds the default dial, unless configured. If a peer's listen queue is full
	// the kernel tries again after one, two, three, four, five and seven seconds.
	DialTimeout = 10 * time.Second
	// MaxIdleConns is how many idle HTTP/1.1 connections to one peer are kept.
	MaxIdleConns = 256
	// IdleTimeout is how long an idle connection is kept, unless configured.
	IdleTimeout = 90 * time.Second
	copyBuffer  = 16 << 10
)

// Config describes a peer.
type Config struct {
	Addr     string        // host:port.
	Protocol wadi.Protocol // HTTP1: HTTP/1.1; H2C and GRPC: HTTP/2 with prior knowledge.

	// Dial opens a connection; nil dials Addr over TCP.
	Dial func(context.Context) (net.Conn, error)

	// DialTimeout is how long the default dial waits for a peer that answers no other request
	// meanwhile; 0 is 10 s.
	DialTimeout time.Duration

	// Handshake, if set, is called once on every new HTTP/1.1 connection before the
	// first request goes over it. An error closes the connection.
	Handshake func(context.Context, net.Conn) error

	// Verify is the same for HTTP/2: it sends requests of its own over the connection. Its
	// context has none of a request's values.
	Verify func(context.Context, http.RoundTripper) error

	// Ping, if set, is how long an HTTP/2 connection may be silent before a ping is sent;
	// without an answer the connection is closed.
	Ping time.Duration

	// Envoy says that an Envoy stands in front of the peer. An answer that the Envoy gives in
	// the peer's place is an error then.
	Envoy bool

	// Header is set on every request, and replaces the request's own fields.
	Header http.Header

	// IdleTimeout is how long an unused connection is kept; 0 is IdleTimeout.
	IdleTimeout time.Duration

	// Unwatched is how long a request's context is not watched; the watching begins after at
	// most twice that. Most requests are over by then, and watching is expensive. 0 is 20 ms.
	// HTTP/1.1 only.
	Unwatched time.Duration
	// Wadi says that the peer is one of Wadi's own servers. Its Wadi-Error is passed on, that
	// of an app is not. A connection to another peer is not used again after an answer that
	// may have no body, because many apps send one all the same (HTTP/1.1 only).
	Wadi bool
	// Leaving, if set, is called when an answer of the peer, a queue-proxy, says that its
	// instance is about to stop: before the answer is passed on, or an error is returned.
	Leaving func()
	// Distrusted, if set, is called once when the peer has sent more than its answers. From
	// then on each of its connections carries one request. HTTP/1.1 only.
	Distrusted func()
	// Linger, if set, is how long a silent peer may take to notice that a request was broken
	// off: its connection is half-closed, and a [PeerTracker] learns when the peer has closed
	// its side, or still sends after a second. HTTP/1.1 over TCP only; other connections are
	// closed at once.
	Linger time.Duration
}

// Upstream is one peer that requests are forwarded to, with its connections.
type Upstream struct {
	cfg       Config
	transport *http.Transport // It only makes connections for http2; nil for HTTP/1.1.
	http2     *http2Conns     // Nil for HTTP/1.1.
	http1     *http1Pool      // Nil for HTTP/2.
	fixed     []byte          // The configured header, as lines.
	instance  string          // The instance that requests are for; "" is any.
	copies    bufferPool
	answers   atomic.Int64 // Answers so far, for dialPeer.
	silent    *log.Logger  // Discards: errors are returned or break the stream, and the caller reports them.
}

// New returns an upstream without a connection; the first request opens one.
func New(cfg Config) *Upstream {
	u := &Upstream{cfg: cfg, silent: log.New(io.Discard, "", 0)}
	if u.cfg.Dial == nil {
		u.cfg.Dial = u.dialPeer
	}
	u.cfg.DialTimeout = cmp.Or(cfg.DialTimeout, DialTimeout)
	u.cfg.IdleTimeout = cmp.Or(cfg.IdleTimeout, IdleTimeout)
	u.instance = cfg.Header.Get(wadi.HeaderInstance)
	if cfg.Protocol.HTTP2() {
		u.transport = newTransport(u.dial)
		u.transport.IdleConnTimeout = u.cfg.IdleTimeout
		u.transport.HTTP2.SendPingTimeout = cfg.Ping
		u.http2 = &http2Conns{transport: u.transport, verify: cfg.Verify}
		return u
	}
	for name, values := range cfg.Header {
		for _, value := range values {
			u.fixed, _ = appendField(u.fixed, name, value)
		}
	}
	u.http1 = newHTTP1Pool(func(ctx context.Context) (net.Conn, error) { return u.dial(ctx, "", "") },
		u.cfg.IdleTimeout, new(buffers))
	u.http1.linger, u.http1.distrusted = cfg.Linger, cfg.Distrusted
	u.http1.unwatchedFor = cmp.Or(cfg.Unwatched, watchTick)
	return u
}

// newTransport makes connections of HTTP/2 to one peer, which change nothing of what
// they carry.
func newTransport(dial func(context.Context, string, string) (net.Conn, error)) *http.Transport {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	return &http.Transport{
		DialContext:            dial,
		Protocols:              &protocols,
		DisableCompression:     true, // What the app sends is passed on as it is.
		MaxResponseHeaderBytes: proxy.MaxHeaderBytes,
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream:     proxy.StreamBuffer,
			MaxReceiveBufferPerConnection: proxy.ConnBuffer,
			MaxReadFrameSize:              proxy.FrameSize,
		},
	}
}

// dial opens a connection and has its handshake done.
func (u *Upstream) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	conn, err := u.cfg.Dial(ctx)
	if err != nil {
		return nil, &refusedError{fmt.Errorf("dial %s: %w", u.cfg.Addr, err)}
	}
	if u.cfg.Handshake == nil || u.http2 != nil {
		return conn, nil
	}
	if err := u.cfg.Handshake(ctx, conn); err != nil {
		_ = conn.Close() // The error of the handshake says it all.
		return nil, &refusedError{fmt.Errorf("handshake with %s: %w", u.cfg.Addr, err)}
	}
	return conn, nil
}

// Close closes the connections that are not in use; the others close when their
// request is over.
func (u *Upstream) Close() {
	if u.http1 != nil {
		u.http1.close()
		return
	}
	u.http2.close()
	u.transport.CloseIdleConnections()
}

// Open opens an HTTP/2 connection for the caller alone, not verified.
func (u *Upstream) Open(ctx context.Context) (*http.ClientConn, error) { return u.http2.open(ctx) }

// Keep takes a connection of Open, verified by the caller, over for requests.
func (u *Upstream) Keep(cc *http.ClientConn) { u.http2.keep(cc) }

// Forward sends r to the peer and its answer to w, both as they come: every part
// is flushed at once; trailers, informational answers and upgrades are passed on.
// Path, query and Host stay byte for byte what the caller sent.
//
// It returns nil when an answer was passed on, else a [*ForwardError]; w is untouched unless
// that says Answered. If the answer breaks off in mid-stream it panics with
// [http.ErrAbortHandler], so that the caller's stream breaks too. A w that is a [PeerTracker]
// or a [Deferrer] is used as such.
func (u *Upstream) Forward(w http.ResponseWriter, r *http.Request) error {
	return u.ForwardAfter(w, r, Breaks{})
}

// ForwardAfter is Forward for a request that was forwarded before; breaks is what the
// [ForwardError] of that time says.
func (u *Upstream) ForwardAfter(w http.ResponseWriter, r *http.Request, breaks Breaks) error {
	if u.http2 != nil {
		return u.forwardHTTP2(w, r)
	}
	if err := u.forwardHTTP1(w, r, breaks); err != nil {
		return err
	}
	return nil
}

// mayAnswer says whether a field of the peer's answer may be passed on: Wadi's own fields may
// not, but for the Wadi-Error of one of Wadi's servers.
func (u *Upstream) mayAnswer(name string) bool {
	return !proxy.IsInternal(name) || u.cfg.Wadi && name == wadi.HeaderError
}

// noteOrder notes the order that a queue-proxy's answer names.
func (u *Upstream) noteOrder(order string) {
	if order == string(wadi.OrderGo) {
		u.cfg.Leaving()
	}
}

// errMisdirected: the peer is not the instance that the request is for.
var errMisdirected = errors.New("the peer is not that instance")

// Conns returns how many HTTP/1.1 connections to the peer are open, and how many of them are
// idle.
func (u *Upstream) Conns() (open, idle int) {
	if u.http1 == nil {
		return 0, 0
	}
	return u.http1.counts()
}
