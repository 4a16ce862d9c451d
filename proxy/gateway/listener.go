package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/proxy/connlimit"
	"github.com/wadi-run/wadi/proxy/drain"
	"github.com/wadi-run/wadi/proxy/framing"
)

// listener hands connections to an HTTP server: bounded by a [connlimit.Budget], after the
// TLS handshake if there is one, and with checked requests. The server speaks HTTP/2 over a
// *tls.Conn only, so a connection that has agreed on HTTP/2 is handed over as it is. Any
// other one is wrapped by package framing, and still shows its TLS state.
type listener struct {
	below   *drain.Listener
	checker *framing.Checker
	tls     *tls.Config // Nil: plain.
	timeout time.Duration
	limiter *connlimit.Limiter
	park    *connlimit.Park // Nil over TLS, where most memory is the state of TLS.
	log     hclog.Logger

	stopping atomic.Bool   // stopAccepting was called.
	ready    chan net.Conn // TLS connections after the handshake.
	done     chan struct{} // Closed with the listener.
	close    func() error
}

func newListener(l *drain.Listener, cfg ServerConfig, b Limits) *listener {
	out := &listener{
		below: l, checker: framing.New(framing.Config{HTTP2: cfg.TLS == nil, Refused: cfg.Malformed, Silence: b.IdleTimeout, Header: b.ReadHeaderTimeout}),
		tls: cfg.TLS, timeout: b.ReadHeaderTimeout, limiter: connlimit.New(b.MaxConns, cfg.TrustedProxies), log: cfg.Log,
		ready: make(chan net.Conn), done: make(chan struct{}),
	}
	if cfg.TLS == nil {
		out.park = out.limiter.Park(l.Addr(), b.IdleTimeout)
	}
	out.close = sync.OnceValue(func() error {
		close(out.done)
		return l.Close()
	})
	return out
}

// Accept returns the next connection.
func (l *listener) Accept() (net.Conn, error) {
	if l.tls == nil {
		return l.acceptPlain()
	}
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.done:
		return nil, l.ended(net.ErrClosed)
	}
}

// acceptPlain returns the next connection; where there are many, the next one on which
// something has come.
func (l *listener) acceptPlain() (net.Conn, error) {
	for {
		c, err := l.limiter.Accept(l.below, func(c net.Conn) net.Conn { return l.checker.Conn(c) })
		if err != nil {
			return nil, l.ended(err)
		}
		if out := l.park.Take(c); out != nil {
			return out, nil
		}
	}
}

// listeners are the listeners that the server serves. The park's stays open until the
// server ends, beyond stopAccepting.
func (l *listener) listeners() []net.Listener {
	if l.park == nil {
		return []net.Listener{l}
	}
	return []net.Listener{l, l.park.Listener()}
}

// closeAll closes l and the parked connections.
func (l *listener) closeAll() (err error) {
	for _, each := range l.listeners() {
		err = errors.Join(err, each.Close())
	}
	return err
}

// ended is the error of an Accept without a connection.
func (l *listener) ended(err error) error {
	if l.stopping.Load() {
		return http.ErrServerClosed
	}
	return err
}

// stopAccepting ends Accept with [http.ErrServerClosed], once all connections that have come
// are accepted and have made their handshakes. No connection is parked from then on: the
// server is about to close the idle ones.
func (l *listener) stopAccepting() {
	if l.park != nil {
		l.park.Fill()
	}
	l.stopping.Store(true)
	l.below.Drain()
}

// Addr is where l listens.
func (l *listener) Addr() net.Addr { return l.below.Addr() }

// Close ends Accept and the handshakes in progress.
func (l *listener) Close() error { return l.close() }

// run accepts TLS connections and makes their handshakes, each on a goroutine of its own,
// until l is closed.
func (l *listener) run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // Before the wait: no handshake outlives the listener.
	for {
		c, err := l.limiter.Accept(l.below, nil)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil && l.stopping.Load() {
			l.closeAfter(&all)
			return
		}
		if err != nil {
			l.log.Error("connection not accepted", "error", err)
			select {
			case <-time.After(acceptPause):
			case <-l.done:
			}
			continue
		}
		all.Go(func() { l.handshake(ctx, c) })
	}
}

// closeAfter closes l when the handshakes have ended, unless it is closed before.
func (l *listener) closeAfter(handshakes *sync.WaitGroup) {
	over := make(chan struct{})
	go func() {
		defer close(over)
		handshakes.Wait()
	}()
	select {
	case <-over:
		_ = l.Close() // Nothing was written.
	case <-l.done:
	}
}

// acceptPause is the pause after a failed accept: mostly no descriptors are left.
const acceptPause = 100 * time.Millisecond

// handshake makes the TLS handshake, and hands the connection over if it succeeds.
func (l *listener) handshake(ctx context.Context, below *connlimit.LimitedConn) {
	bound, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	c := tls.Server(below, l.tls)
	if err := c.HandshakeContext(bound); err != nil {
		var plain tls.RecordHeaderError
		if errors.As(err, &plain) && plain.Conn != nil && looksPlain(plain.RecordHeader) {
			_, _ = io.WriteString(plain.Conn, "HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\nThis port speaks HTTPS; the request was plain HTTP.\n")
		}
		l.log.Debug("TLS handshake not completed", "peer", below.RemoteAddr().String(), "error", err)
		_ = below.Close() // The handshake's error says it all.
		return
	}
	state := c.ConnectionState()
	if state.NegotiatedProtocol == protocolACME {
		_ = c.Close() // The handshake was the answer; nothing may follow.
		return
	}
	http2 := state.NegotiatedProtocol == "h2"
	if !below.Handshaken(identity(state), http2) {
		_ = below.Close() // Its owner has used up its share of connections.
		return
	}
	var out net.Conn = c
	if !http2 {
		out = l.checker.Conn(c)
	}
	select {
	case l.ready <- out:
	case <-l.done:
		_ = c.Close() // No request has come on it.
	}
}

// identity is the peer's identity by its certificate: in the mesh its service, wherever it
// runs; "" without a certificate.
func identity(state tls.ConnectionState) string {
	if len(state.PeerCertificates) == 0 || len(state.PeerCertificates[0].URIs) == 0 {
		return ""
	}
	return state.PeerCertificates[0].URIs[0].String()
}

// looksPlain reports whether the bytes in place of a TLS record begin an HTTP request.
func looksPlain(record [5]byte) bool {
	switch string(record[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "PATCH", "DELET", "PRI *":
		return true
	}
	return false
}
