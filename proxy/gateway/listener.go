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

// listener hands connections to an HTTP server: bounded by a [connlimit.Budget], with
// their requests checked, and after the TLS handshake if there is one. The server knows a
// *tls.Conn by its type, and speaks HTTP/2 over that alone. So one that has agreed on
// HTTP/2 is handed over as it is; of any other one the server gets the check, which
// tells the TLS state.
type listener struct {
	below   *drain.Listener
	checker *framing.Checker
	tls     *tls.Config // Nil: plain.
	timeout time.Duration
	limiter *connlimit.Limiter
	park    *connlimit.Park // Nil over TLS: what it costs is mostly the state of that.
	log     hclog.Logger

	stopping atomic.Bool   // No more are accepted than have come.
	ready    chan net.Conn // Over TLS, whose handshake is over.
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

// acceptPlain returns the next connection on which something is asked, if there are many.
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

// listeners are the listeners by which the server gets connections. The park's is open until
// the server ends, and not only until the last call is over.
func (l *listener) listeners() []net.Listener {
	if l.park == nil {
		return []net.Listener{l}
	}
	return []net.Listener{l, l.park.Listener()}
}

// closeAll ends l, and what waits.
func (l *listener) closeAll() (err error) {
	for _, one := range l.listeners() {
		err = errors.Join(err, one.Close())
	}
	return err
}

// ended is the error of an Accept that has none to return.
func (l *listener) ended(err error) error {
	if l.stopping.Load() {
		return http.ErrServerClosed
	}
	return err
}

// stopAccepting ends Accept with [http.ErrServerClosed], once all connections have been
// accepted that have come, and have made their handshakes. What is idle from then on
// stays with the server, which is about to end it.
func (l *listener) stopAccepting() {
	if l.park != nil {
		l.park.Fill()
	}
	l.stopping.Store(true)
	l.below.LastCall()
}

// Addr is where l listens.
func (l *listener) Addr() net.Addr { return l.below.Addr() }

// Close ends Accept, and the handshakes that are going on.
func (l *listener) Close() error { return l.close() }

// run makes the handshakes of TLS, each on a goroutine of its own, until l is closed.
func (l *listener) run(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // First: no handshake outlives the listener.
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

// acceptPause is how long nothing is accepted after that failed: mostly there are no
// descriptors left.
const acceptPause = 100 * time.Millisecond

// handshake hands c over when it has ended well.
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
	http2 := state.NegotiatedProtocol == "h2"
	if !below.Handshaken(identity(state), http2) {
		_ = below.Close() // Its owner has more than its share.
		return
	}
	var out net.Conn = c
	if !http2 {
		out = l.checker.Conn(c)
	}
	select {
	case l.ready <- out:
	case <-l.done:
		_ = c.Close() // Nobody has asked for anything on it.
	}
}

// identity is who the peer has proved to be by its certificate: in the mesh its
// service, wherever it runs. Empty: nobody in particular.
func identity(state tls.ConnectionState) string {
	if len(state.PeerCertificates) == 0 || len(state.PeerCertificates[0].URIs) == 0 {
		return ""
	}
	return state.PeerCertificates[0].URIs[0].String()
}

// looksPlain reports whether what came in place of a TLS record begins a request.
func looksPlain(record [5]byte) bool {
	switch string(record[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "PATCH", "DELET", "PRI *":
		return true
	}
	return false
}
