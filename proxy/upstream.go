package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wadi-run/wadi"
)

// Bounds of the connections to a peer.
const (
	// DialTimeout bounds the default dial.
	DialTimeout = time.Second
	// MaxIdleConns is how many idle HTTP/1.1 connections to one peer are kept.
	MaxIdleConns = 256
	// UpstreamIdleTimeout is how long they are kept, unless configured.
	UpstreamIdleTimeout = 90 * time.Second
	// MaxHeaderBytes bounds the headers of a request and of an answer.
	MaxHeaderBytes = 64 << 10
	// StreamBuffer bounds what is received ahead on one HTTP/2 stream.
	StreamBuffer = 64 << 10
	// ConnBuffer bounds what is received ahead on one HTTP/2 connection.
	ConnBuffer = 1 << 20

	copyBuffer = 16 << 10
)

// UpstreamConfig describes a peer.
type UpstreamConfig struct {
	Addr     string        // host:port.
	Protocol wadi.Protocol // HTTP1: HTTP/1.1; H2C and GRPC: HTTP/2 with prior knowledge.

	// Dial opens a connection; nil dials Addr over TCP.
	Dial func(context.Context) (net.Conn, error)

	// Greet, if set, is called once on every new HTTP/1.1 connection before the
	// first request goes over it. An error closes the connection.
	Greet func(context.Context, net.Conn) error

	// Verify is the same for HTTP/2, where requests of its own go over the
	// connection. It gets none of the values of a request's context.
	Verify func(context.Context, http.RoundTripper) error

	// Ping, if set, is how long an HTTP/2 connection may be silent before its peer
	// is asked whether it is alive; without an answer it is closed.
	Ping time.Duration

	// Header is set on every request, in place of what the request brings.
	Header http.Header

	// IdleTimeout is how long an unused connection is kept; 0 is UpstreamIdleTimeout.
	IdleTimeout time.Duration
}

// Upstream is one peer that requests are forwarded to, with its connections.
type Upstream struct {
	cfg       UpstreamConfig
	transport *http.Transport // Of HTTP/1.1; it only makes connections for http2.
	http2     *http2Conns     // Nil for HTTP/1.1.
	buffers   bufferPool
	silent    *log.Logger // Errors are returned or break the stream; the caller reports them.
}

// NewUpstream returns an upstream without a connection; the first request opens one.
func NewUpstream(cfg UpstreamConfig) *Upstream {
	u := &Upstream{cfg: cfg, silent: log.New(io.Discard, "", 0)}
	if u.cfg.Dial == nil {
		dialer := net.Dialer{Timeout: DialTimeout}
		u.cfg.Dial = func(ctx context.Context) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", cfg.Addr)
		}
	}
	if u.cfg.IdleTimeout == 0 {
		u.cfg.IdleTimeout = UpstreamIdleTimeout
	}
	u.transport = newTransport(u.dial, cfg.Protocol)
	u.transport.IdleConnTimeout = u.cfg.IdleTimeout
	if cfg.Protocol.HTTP2() {
		u.transport.HTTP2.SendPingTimeout = cfg.Ping
		u.http2 = &http2Conns{transport: u.transport, verify: cfg.Verify}
	}
	return u
}

// newTransport speaks protocol to one peer, and changes nothing of what it carries.
func newTransport(dial func(context.Context, string, string) (net.Conn, error), p wadi.Protocol) *http.Transport {
	var protocols http.Protocols
	if p.HTTP2() {
		protocols.SetUnencryptedHTTP2(true)
	} else {
		protocols.SetHTTP1(true)
	}
	return &http.Transport{
		DialContext:            dial,
		Protocols:              &protocols,
		DisableCompression:     true, // What the app sends is passed on as it is.
		MaxIdleConns:           MaxIdleConns,
		MaxIdleConnsPerHost:    MaxIdleConns,
		MaxResponseHeaderBytes: MaxHeaderBytes,
		ExpectContinueTimeout:  time.Second,
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream:     StreamBuffer,
			MaxReceiveBufferPerConnection: ConnBuffer,
		},
	}
}

// dial opens a connection and greets the peer.
func (u *Upstream) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	conn, err := u.cfg.Dial(ctx)
	if err != nil {
		return nil, &refusedError{fmt.Errorf("dial %s: %w", u.cfg.Addr, err)}
	}
	if u.cfg.Greet == nil || u.http2 != nil {
		return conn, nil
	}
	if err := u.cfg.Greet(ctx, conn); err != nil {
		_ = conn.Close() // The greeting's error says it all.
		return nil, &refusedError{fmt.Errorf("greet %s: %w", u.cfg.Addr, err)}
	}
	return conn, nil
}

// Close closes the connections that are not in use; the others close when their
// request is over.
func (u *Upstream) Close() {
	if u.http2 != nil {
		u.http2.close()
	}
	u.transport.CloseIdleConnections()
}

// Open opens an HTTP/2 connection that is the caller's alone, not verified.
func (u *Upstream) Open(ctx context.Context) (*http.ClientConn, error) { return u.http2.open(ctx) }

// Keep takes over a connection of Open, verified by the caller, for requests.
func (u *Upstream) Keep(cc *http.ClientConn) { u.http2.keep(cc) }

// Forward sends r to the peer and its answer to w, both as they come: every part
// is flushed at once; trailers, informational answers and upgrades are passed on.
// Path, query and Host stay byte for byte what the caller sent.
//
// It returns nil when an answer was passed on, else a [*ForwardError], and w is
// untouched unless that says Answered. When the answer breaks off in mid-stream
// it panics with [http.ErrAbortHandler], so that the caller's stream breaks too.
func (u *Upstream) Forward(w http.ResponseWriter, r *http.Request) error {
	f := &forward{upstream: u, w: w, http1: r.ProtoMajor == 1}
	if r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0 {
		f.body.ReadCloser = r.Body
		in := *r
		in.Body = &f.body
		r = &in
	}
	if r.Header.Get("Upgrade") != "" {
		w = upgradeWriter{w}
	}
	proxy := httputil.ReverseProxy{
		Rewrite:       f.rewrite,
		Transport:     f,
		FlushInterval: -1,
		BufferPool:    &u.buffers,
		ErrorHandler:  f.failed,
		ErrorLog:      u.silent,
	}
	proxy.ModifyResponse = func(res *http.Response) error {
		if res.ContentLength == 0 {
			// Nothing follows, and the header must say so itself: flushed without that,
			// the trailers that a gRPC call is refused with are a header to its client.
			proxy.FlushInterval = 0
		}
		return f.response(res)
	}
	proxy.ServeHTTP(w, r)
	if f.err == nil {
		return nil
	}
	return f.err
}

// forward is one request on its way. Only the body is touched by several goroutines.
type forward struct {
	upstream *Upstream
	w        http.ResponseWriter
	http1    bool // The caller's side.
	body     countedBody
	sent     atomic.Bool // The peer may have seen it.
	answered bool
	err      *ForwardError
}

// RoundTrip notes whether the request was sent: when a connection that was used
// before breaks without an answer, the transport dials again by itself, and that
// this is refused says nothing of the first time.
func (f *forward) RoundTrip(r *http.Request) (*http.Response, error) {
	if t := httptrace.ContextClientTrace(r.Context()); t != nil { // The proxy's own, of this request.
		t.WroteHeaders = func() { f.sent.Store(true) }
	}
	if f.upstream.http2 != nil {
		return f.upstream.http2.send(r, &f.sent)
	}
	return f.upstream.transport.RoundTrip(r)
}

// errMisdirected: the peer says that the request is not for it.
var errMisdirected = errors.New("the peer is not that instance")

func (f *forward) rewrite(p *httputil.ProxyRequest) {
	u := p.Out.URL
	u.Scheme, u.Host = "http", f.upstream.cfg.Addr
	// The proxy drops what it can't parse and what others forwarded before; it
	// is not ours to drop.
	u.RawQuery = p.In.URL.RawQuery
	keepPath(u, p.In)
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if v, ok := p.In.Header[name]; ok {
			p.Out.Header[name] = v
		}
	}
	for name, v := range f.upstream.cfg.Header {
		p.Out.Header[name] = v
	}
}

func (f *forward) response(res *http.Response) error {
	if res.StatusCode == http.StatusMisdirectedRequest {
		// An app may answer 421 too; its queue-proxy then names this instance.
		want := f.upstream.cfg.Header.Get(wadi.HeaderInstance)
		if want != "" && res.Header.Get(wadi.HeaderInstance) != want {
			return errMisdirected
		}
	}
	StripInternal(res.Header)
	f.answered = true
	if f.http1 && f.body.ReadCloser != nil && !f.body.ended.Load() {
		// The answer came before the end of the request. Without this the server
		// would read the rest of the body before the answer goes out. It must not
		// use the connection again then: it reads ahead of the handler's end.
		res.Header.Set("Connection", "close")
		_ = http.NewResponseController(f.w).EnableFullDuplex() // A recorder in a test can't; nothing is lost.
	}
	return nil
}

func (f *forward) failed(_ http.ResponseWriter, _ *http.Request, err error) {
	var refused *refusedError
	var unsendable *unsendableError
	f.err = &ForwardError{
		Unsendable:  errors.As(err, &unsendable),
		Refused:     errors.As(err, &refused) && !f.sent.Load(),
		Misdirected: errors.Is(err, errMisdirected),
		BodyRead:    f.body.read.Load(),
		Answered:    f.answered,
		Err:         err,
	}
}

// countedBody notes whether any of a body was read, and whether all.
type countedBody struct {
	io.ReadCloser
	read, ended atomic.Bool
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.read.Store(true)
	}
	if err == io.EOF {
		b.ended.Store(true)
	}
	return n, err
}

// bufferPool lends the buffers through which answers are copied.
type bufferPool struct{ pool sync.Pool }

func (p *bufferPool) Get() []byte {
	if b, ok := p.pool.Get().(*[copyBuffer]byte); ok {
		return b[:]
	}
	return make([]byte, copyBuffer)
}

func (p *bufferPool) Put(b []byte) { p.pool.Put((*[copyBuffer]byte)(b)) }
