package upstream

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"sync"
	"sync/atomic"

	"github.com/wadi-run/wadi"
	"github.com/wadi-run/wadi/proxy"
	"github.com/wadi-run/wadi/proxy/fields"
)

// forwardHTTP2 forwards over HTTP/2.
func (u *Upstream) forwardHTTP2(w http.ResponseWriter, r *http.Request) error {
	f := &forward{upstream: u, w: w, http1: r.ProtoMajor == 1}
	if r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0 {
		f.body.ReadCloser = r.Body
		in := *r
		in.Body = &f.body
		r = &in
	}
	r = withoutUpgrade(r)
	proxy := httputil.ReverseProxy{
		Rewrite:       f.rewrite,
		Transport:     f,
		FlushInterval: -1,
		BufferPool:    &u.copies,
		ErrorHandler:  f.failed,
		ErrorLog:      u.silent,
	}
	proxy.ModifyResponse = func(res *http.Response) error {
		if res.ContentLength == 0 {
			// No body follows, and the header must say so itself. Flushed without that, trailers
			// that refuse a gRPC call would be a mere header to its client.
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

// withoutUpgrade is r without the offer to change to another protocol, which HTTP/2 can't
// carry and a server may ignore (RFC 9110, section 7.8). Some clients offer HTTP/2 itself in
// this way, with each first request.
func withoutUpgrade(r *http.Request) *http.Request {
	if r.Header["Upgrade"] == nil && r.Header["Http2-Settings"] == nil {
		return r
	}
	in := *r
	in.Header = r.Header.Clone()
	in.Header.Del("Upgrade")
	in.Header.Del("HTTP2-Settings")
	return &in
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

	informing sync.Mutex
	final     bool // No informational answer is passed on any more.
}

// RoundTrip notes whether the request was sent. When a used connection breaks without an
// answer another one is dialled; if that dial is refused, the peer may still have seen the
// request.
func (f *forward) RoundTrip(r *http.Request) (*http.Response, error) {
	if t := httptrace.ContextClientTrace(r.Context()); t != nil { // The proxy's own, of this request.
		t.WroteHeaders = func() { f.sent.Store(true) }
		pass := t.Got1xxResponse
		t.Got1xxResponse = func(status int, h textproto.MIMEHeader) error {
			if status == http.StatusSwitchingProtocols { // HTTP/2 has none (RFC 9113, section 8.6).
				return malformed("a change to a protocol that was not asked for")
			}
			proxy.StripInternal(http.Header(h))
			return f.inform(status, h, pass)
		}
	}
	defer f.informed()
	return f.upstream.http2.send(r, &f.sent)
}

// inform has pass send an informational answer. Fields that w has already are for the final
// one; pass would send and then drop them.
func (f *forward) inform(status int, h textproto.MIMEHeader, pass func(int, textproto.MIMEHeader) error) error {
	f.informing.Lock()
	defer f.informing.Unlock()
	if f.final {
		return nil
	}
	header := f.w.Header()
	kept := maps.Clone(header)
	clear(header)
	err := pass(status, h)
	maps.Copy(header, kept)
	return err
}

// informed ends the informational answers: w belongs to the final one from now on.
func (f *forward) informed() {
	f.informing.Lock()
	f.final = true
	f.informing.Unlock()
}

func (f *forward) rewrite(p *httputil.ProxyRequest) {
	u := p.Out.URL
	u.Scheme, u.Host = "http", f.upstream.cfg.Addr
	// ReverseProxy drops what it can't parse, and forwarding headers; both are passed on here.
	u.RawQuery = p.In.URL.RawQuery
	keepPath(u, p.In)
	for name, v := range p.In.Header {
		if fields.IsForwarding(name) { // Even if Connection names them.
			p.Out.Header[name] = v
		}
	}
	for name, v := range f.upstream.cfg.Header {
		p.Out.Header[name] = v
	}
	p.Out.Trailer = f.trailers(p.In.Trailer)
}

// trailers are the trailers of in that may be passed on. Their values come with the body's
// end.
func (f *forward) trailers(in http.Header) http.Header {
	if len(in) == 0 {
		return nil
	}
	out := make(http.Header, len(in))
	for name := range in {
		if fields.MayTrail(name) {
			out[name] = nil
		}
	}
	f.body.atEnd = func() {
		for name := range out {
			out[name] = in[name]
		}
	}
	return out
}

func (f *forward) response(res *http.Response) error {
	if f.upstream.cfg.Leaving != nil {
		f.upstream.noteOrder(res.Header.Get(wadi.HeaderOrder))
	}
	if res.StatusCode == http.StatusMisdirectedRequest {
		// To an app's own 421 its queue-proxy adds the instance's name.
		if want := f.upstream.instance; want != "" && res.Header.Get(wadi.HeaderInstance) != want {
			return errMisdirected
		}
	}
	if err := f.envoysFault(res); err != nil {
		return err
	}
	f.upstream.answers.Add(1)
	for name := range res.Header {
		if !f.upstream.mayAnswer(name) {
			delete(res.Header, name)
		}
	}
	f.answered = true
	if !bodyAllowed(res.StatusCode) {
		dropBody(res)
	}
	if res.Body != http.NoBody {
		keepTrailers(res.Trailer)
		res.Body = &countedBody{ReadCloser: res.Body, atEnd: func() { keepTrailers(res.Trailer) }}
	}
	if f.http1 && len(res.Trailer) > 0 {
		// In HTTP/1.1 only a body in chunks has trailers.
		res.Header.Del("Content-Length")
		res.ContentLength = -1
	}
	if f.http1 && f.body.ReadCloser != nil && !f.body.ended.Load() {
		// The answer came before the end of the request. Without full duplex the server would
		// read the rest of the body before it sends the answer. With it the server must not use
		// the connection again: it reads ahead before the handler ends.
		res.Header.Set("Connection", "close")
		_ = http.NewResponseController(f.w).EnableFullDuplex() // A recorder in a test can't; nothing is lost.
	}
	return nil
}

// dropBody drops a body where none is allowed: it would break the caller's stream.
func dropBody(res *http.Response) {
	_ = res.Body.Close() // The rest is not needed.
	res.Body, res.ContentLength, res.Trailer = http.NoBody, 0, nil
	switch res.StatusCode {
	case http.StatusNoContent:
		res.Header.Del("Content-Length")
	case http.StatusResetContent:
		res.Header.Set("Content-Length", "0")
	}
}

func (f *forward) failed(w http.ResponseWriter, r *http.Request, err error) {
	if !f.answered && proxy.IsGRPC(r) && outOfTime(r, err) {
		w.Header().Set(wadi.HeaderError, proxy.CodeRequestTimeout)
		proxy.RefuseGRPC(w, r, http.StatusGatewayTimeout, "the app took longer than the call's deadline")
		return
	}
	err = malformedHTTP2(err)
	var refused *refusedError
	var unsendable *unsendableError
	f.err = &ForwardError{
		Unsendable:  errors.As(err, &unsendable),
		Refused:     errors.Is(err, errNotReached) || errors.As(err, &refused) && !f.sent.Load(),
		Misdirected: errors.Is(err, errMisdirected),
		Malformed:   errors.Is(err, errMalformed),
		BodyRead:    f.body.read.Load(),
		Answered:    f.answered,
		Err:         err,
	}
}

// outOfTime says whether err is how an app ends a gRPC call whose deadline has passed: it
// resets the stream without a status. The caller's own timer fires later, so that without a
// proper status the caller would take this for a temporary failure.
func outOfTime(r *http.Request, err error) bool {
	var s streamError
	return errors.As(err, &s) && s.Code == cancelledStream && r.Header.Get("Grpc-Timeout") != ""
}

// keepTrailers removes the trailers that may not be passed on.
func keepTrailers(h http.Header) {
	maps.DeleteFunc(h, func(name string, _ []string) bool { return !fields.MayTrail(name) })
}

// countedBody notes whether any or all of a body was read.
type countedBody struct {
	io.ReadCloser
	read, ended atomic.Bool
	atEnd       func() // Called when all was read and the trailers have come; may be nil.
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.read.Store(true)
	}
	if err == io.EOF {
		if b.atEnd != nil {
			b.atEnd()
		}
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
