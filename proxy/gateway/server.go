package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/proxy"
	"github.com/wadi-run/wadi/proxy/activator"
	"github.com/wadi-run/wadi/proxy/drain"
	"github.com/wadi-run/wadi/proxy/framing"
)

// codeMalformed is the Wadi-Error of a request line that is none.
const codeMalformed = "malformed"

// maxFrame is HTTP/2's least bound of a frame, in bytes: the server makes a buffer of
// a frame's whole size as soon as its header has come, and keeps that.
const maxFrame = 16 << 10

// ServerConfig is what a Server needs.
type ServerConfig struct {
	Address string // host:port to listen on.
	Handler http.Handler
	Log     hclog.Logger

	// TLS makes it speak TLS, and HTTP/2 to those who ask for it there; nil is plain.
	TLS *tls.Config

	// Malformed, if set, is told of every request that is refused before a handler
	// sees it. It must not block.
	Malformed func(framing.Reason)

	Limits Limits

	// TrustedProxies have no bound of their own on how many connections they hold:
	// those are their callers'.
	TrustedProxies []netip.Prefix

	// ShutdownTimeout is how long requests in flight may take when Run's context
	// ends; default 30 s.
	ShutdownTimeout time.Duration
}

// Server speaks HTTP/1.1, and HTTP/2 to those who know that it does. It bounds
// what a connection may cost; how long a request may take is up to the handler.
type Server struct {
	listener *listener
	server   *http.Server
	shutdown time.Duration
	linger   time.Duration
}

// NewServer opens the listener. Run serves; a server that never runs is closed
// by Close.
func NewServer(ctx context.Context, cfg ServerConfig) (*Server, error) {
	if cfg.Handler == nil || cfg.Log == nil {
		return nil, errors.New("gateway: handler and log are required")
	}
	if cfg.ShutdownTimeout == 0 {
		cfg.ShutdownTimeout = 30 * time.Second
	}
	ln, err := drain.Listen(ctx, cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	if cfg.TLS != nil {
		cfg.TLS = cfg.TLS.Clone()
		cfg.TLS.NextProtos = []string{"h2", "http/1.1"}
	}
	b := cfg.Limits.withDefaults()
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(cfg.TLS == nil)
	protocols.SetHTTP2(cfg.TLS != nil)
	s := &Server{listener: newListener(ln, cfg, b), shutdown: cfg.ShutdownTimeout, linger: lingerFor}
	s.server = &http.Server{
		Handler:           checkHTTP2(cfg.Handler, cfg.Malformed),
		TLSConfig:         cfg.TLS.Clone(), // The server changes it.
		Protocols:         &protocols,
		ReadHeaderTimeout: b.ReadHeaderTimeout,
		IdleTimeout:       b.IdleTimeout,
		MaxHeaderBytes:    b.MaxHeaderBytes,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          b.MaxStreams,
			MaxReadFrameSize:              maxFrame,
			MaxReceiveBufferPerStream:     b.StreamBuffer,
			MaxReceiveBufferPerConnection: b.ConnBuffer,
			WriteByteTimeout:              proxy.DeafAfter,
		},
		ConnContext:                  activator.ConnContext,
		ConnState:                    s.listener.limiter.ConnState,
		DisableGeneralOptionsHandler: true, // OPTIONS * is a service's like any other.
		// What clients do wrong is theirs; it is worth a line only when searched for.
		ErrorLog: cfg.Log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	return s, nil
}

// checkHTTP2 refuses of HTTP/2 what [framing] refuses of HTTP/1: request lines that would
// be others once they are written as HTTP/1.1, and tunnels.
func checkHTTP2(next http.Handler, malformed func(framing.Reason)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 1 {
			next.ServeHTTP(w, r)
			return
		}
		why := framing.CheckHTTP2(r)
		if why == framing.None {
			next.ServeHTTP(w, r)
			return
		}
		if malformed != nil {
			malformed(why)
		}
		activator.Refuse(w, r, activator.Refusal{Status: http.StatusBadRequest, Code: codeMalformed, Message: why.Text()})
	})
}

// Addr is where s listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// lingerFor is how long connections are kept that nobody uses, when no new ones are
// taken: who has just opened one, or has had an answer on it, may be about to ask.
const lingerFor = 500 * time.Millisecond

// Run serves until ctx ends, and then until the requests in flight are answered
// or the shutdown timeout is over.
func (s *Server) Run(ctx context.Context) error {
	var handshakes sync.WaitGroup
	if s.listener.tls != nil {
		handshakes.Go(func() { s.listener.run(context.WithoutCancel(ctx)) })
	}
	defer handshakes.Wait()
	defer func() { _ = s.listener.closeAll() }() // They are, unless serving failed.
	all := s.listener.listeners()
	served := make(chan error, len(all))
	for _, l := range all {
		go func() { served <- s.server.Serve(l) }()
	}
	select {
	case err := <-served:
		return fmt.Errorf("gateway: serve %s: %w", s.Addr(), err)
	case <-ctx.Done():
	}
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.shutdown)
	defer cancel()
	s.listener.stopAccepting()
	time.Sleep(s.linger)
	err := s.server.Shutdown(bound)
	if err != nil {
		err = errors.Join(fmt.Errorf("gateway: shut down: %w", err), s.server.Close())
	}
	for range all {
		if stopped := <-served; !errors.Is(stopped, http.ErrServerClosed) {
			err = errors.Join(err, stopped)
		}
	}
	return err
}

// Close ends s at once.
func (s *Server) Close() error {
	return errors.Join(s.server.Close(), ignoreClosed(s.listener.closeAll()))
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
