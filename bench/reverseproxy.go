package main

import (
	"net/http"
	"net/http/httputil"
	"sync"
	"time"
)

// reverseProxyCommand makes this program Go's own reverse proxy with common tuning, for
// comparison.
const (
	reverseProxyCommand = "reverse-proxy"
	pooledProxyCommand  = "reverse-proxy-pooled" // With a BufferPool too.
)

// reverseProxy serves until the process ends.
func reverseProxy(listen, origin string, pooled bool) error {
	t := &http.Transport{
		MaxIdleConns: 1024, MaxIdleConnsPerHost: 1024, IdleConnTimeout: 90 * time.Second,
		DisableCompression: true, ReadBufferSize: 4 << 10, WriteBufferSize: 4 << 10,
	}
	p := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", origin
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		Transport: t,
	}
	if pooled {
		p.BufferPool = &buffers{}
	}
	s := &http.Server{Addr: listen, Handler: p, ReadHeaderTimeout: 10 * time.Second}
	return s.ListenAndServe()
}

// buffers are the buffers for copying bodies.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if v, ok := b.pool.Get().(*[]byte); ok {
		return *v
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(buf []byte) { b.pool.Put(&buf) }
