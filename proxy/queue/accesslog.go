package queue

import (
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/wadi-run/wadi/proxy/accesslog"
)

// countBody has the bytes counted that are read of r's body, for the access log.
func (x *request) countBody(r *http.Request) {
	if r.Body != nil && r.Body != http.NoBody {
		x.body = &countedBody{ReadCloser: r.Body}
		r.Body = x.body
	}
}

// countedBody counts the bytes that are read.
type countedBody struct {
	io.ReadCloser
	n atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}

// logRequest writes the request's line.
func (p *Proxy) logRequest(x *request, r *http.Request) {
	e := accesslog.Entry{
		Time: x.began, Method: x.method, Host: r.Host, Path: r.URL.EscapedPath(), Protocol: r.Proto,
		Status: x.Status, BytesOut: x.Bytes, Duration: time.Since(x.began), Wait: x.waited,
		Service: p.cfg.Service, Revision: p.cfg.Revision, Instance: p.cfg.Instance,
		Code: x.reason, Peer: r.RemoteAddr, Trace: accesslog.TraceID(r.Header),
	}
	if x.isProbe {
		e.Kind = kindProbe
	}
	if x.body != nil {
		e.BytesIn = x.body.n.Load()
	}
	p.access.Write(&e)
}
