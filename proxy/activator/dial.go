package activator

import (
	"context"
	"net"
	"net/http"
	"time"
)

// spareFresh is how old the kept connection of a probe may get.
const spareFresh = time.Second

// dial returns the probe's connection, or opens one.
func (i *instance) dial(ctx context.Context) (net.Conn, error) {
	if c := i.takeSpare(); c != nil {
		return c, nil
	}
	return i.open(ctx)
}

// open opens a connection.
func (i *instance) open(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, probeAttemptMax)
	defer cancel()
	return i.r.a.cfg.Dialer.Dial(ctx, i.ep)
}

// takeSpare returns the probe's connection, if there is one that is fresh.
func (i *instance) takeSpare() net.Conn {
	i.mu.Lock()
	defer i.mu.Unlock()
	c := i.spare
	i.spare = nil
	if c == nil || time.Since(i.spareAt) > spareFresh {
		closeConn(c)
		return nil
	}
	i.known = c
	return c
}

// closeConn closes c, if it is not nil, where nothing on it could be lost.
func closeConn(c net.Conn) {
	if c != nil {
		_ = c.Close() // Nothing depends on the error.
	}
}

// verify checks that the peer of a new HTTP/2 connection is this instance.
func (i *instance) verify(ctx context.Context, rt http.RoundTripper) error {
	ctx, cancel := context.WithTimeout(ctx, probeAttemptMax)
	defer cancel()
	_, err := askOver(ctx, rt, i.r.service, i.ep)
	return err
}

// handshake checks that the peer of a new HTTP/1.1 connection is this instance.
func (i *instance) handshake(ctx context.Context, c net.Conn) error {
	i.mu.Lock()
	known := i.known == c
	if known {
		i.known = nil
	}
	i.mu.Unlock()
	if known {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, probeAttemptMax)
	defer cancel()
	p := newProbeConn(c)
	if _, err := p.ask(ctx, i.r.service, i.ep); err != nil || !p.cut {
		return err
	}
	return context.Cause(ctx)
}

// close closes the connections that are not in use. Nothing is in flight.
func (i *instance) close() {
	i.mu.Lock()
	c := i.spare
	i.spare = nil
	i.mu.Unlock()
	closeConn(c)
	i.upstream.Close()
}

// keep keeps a probe's verified connection for the first request.
func (i *instance) keep(p prober, now time.Time) {
	switch p := p.(type) {
	case *probeConn:
		i.mu.Lock()
		i.spare, i.spareAt = p.conn, now
		i.mu.Unlock()
	case *probeStream:
		i.upstream.Keep(p.conn)
	}
}
