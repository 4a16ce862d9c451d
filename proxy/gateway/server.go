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

// codeMalformed is the Wadi-Error of a malformed request line.
const codeMalformed = "malformed"

// maxFrame is the smallest bound of a frame that HTTP/2 allows, in bytes: the server
// allocates a buffer for a whole frame when its header comes, and keeps it.
const maxFrame = 16 << 10

// ServerConfig is what a Server needs.
type ServerConfig struct {
	Address string // host:port to listen on.
	Handler http.Handler
	Log     hclog.Logger

	// TLS makes it speak TLS, with HTTP/2 by ALPN; nil is plain HTTP.
	TLS *tls.Config

	// Malformed, if set, is called for every request that is refused before the handler.
	// It must not block.
	Malformed func(framing.Reason)

	Limits Limits

	// TrustedProxies have no share of connections that bounds them, as theirs belong to
	// many callers.
	TrustedProxies []netip.Prefix

	// ShutdownTimeout is how long requests in flight may take when Run's context
	// ends; default 30 s.
	ShutdownTimeout time.Duration
}

// Server speaks HTTP/1.1, and HTTP/2 by ALPN or with prior knowledge. It bounds connections
// by [Limits]; the handler bounds the time of a request.
type Server struct {
	listener *listener
	server   *http.Server
	shutdown time.Duration
	linger   time.Duration
}

// NewServer opens the listener. Run serves; Close is for a server that never runs.
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
		TLSConfig:         cfg.TLS.Clone(), // http.Server changes it.
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
		DisableGeneralOptionsHandler: true, // OPTIONS * belongs to the service.
		// Errors of clients matter only in a search for their cause.
		ErrorLog: cfg.Log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	return s, nil
}

// checkHTTP2 refuses HTTP/2 requests that [framing] refuses as HTTP/1: tunnels, and request
// lines that would mean something else when they are written as HTTP/1.1.
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

// Trust replaces the trusted proxies, for the connections that come from now on.
func (s *Server) Trust(proxies []netip.Prefix) { s.listener.limiter.Exempt(proxies) }

// Addr is where s listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// lingerFor is how long idle connections are kept when no new ones are accepted: a client
// that has just connected, or got an answer, may be about to send a request.
const lingerFor = 500 * time.Millisecond

// Run serves until ctx ends, and then until the requests in flight are answered, for at
// most the shutdown timeout.
func (s *Server) Run(ctx context.Context) error {
	var handshakes sync.WaitGroup
	if s.listener.tls != nil {
		handshakes.Go(func() { s.listener.run(context.WithoutCancel(ctx)) })
	}
	defer handshakes.Wait()
	defer func() { _ = s.listener.closeAll() }() // Closed already, unless serving failed.
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
