package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/proxy/activator"
)

// Bounds of the gateway's connections.
const (
	MaxHeaderBytes    = 64 << 10 // Beyond: 431.
	ReadHeaderTimeout = 10 * time.Second
	IdleTimeout       = 2 * time.Minute
	MaxConns          = 20000 // Open at once; more are closed as they come.
	MaxStreams        = 250   // Of one HTTP/2 connection.
	streamBuffer      = 64 << 10
	connBuffer        = 1 << 20
)

// ServerConfig is what a Server needs.
type ServerConfig struct {
	Address string // host:port to listen on.
	Handler http.Handler
	Log     hclog.Logger

	// TLS makes it speak TLS, and HTTP/2 to those who ask for it there; nil is plain.
	TLS *tls.Config

	// ShutdownTimeout is how long requests in flight may take when Run's context
	// ends; default 30 s.
	ShutdownTimeout time.Duration
}

// Server speaks HTTP/1.1, and HTTP/2 to those who know that it does. It bounds
// what a connection may cost; how long a request may take is up to the handler.
type Server struct {
	listener net.Listener
	server   *http.Server
	shutdown time.Duration
	conns    atomic.Int64
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
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", cfg.Address)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(cfg.TLS == nil)
	protocols.SetHTTP2(cfg.TLS != nil)
	s := &Server{listener: ln, shutdown: cfg.ShutdownTimeout}
	s.server = &http.Server{
		Handler:           cfg.Handler,
		TLSConfig:         cfg.TLS,
		Protocols:         &protocols,
		ReadHeaderTimeout: ReadHeaderTimeout,
		IdleTimeout:       IdleTimeout,
		MaxHeaderBytes:    MaxHeaderBytes,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          MaxStreams,
			MaxReceiveBufferPerStream:     streamBuffer,
			MaxReceiveBufferPerConnection: connBuffer,
		},
		ConnState:   s.count,
		ConnContext: activator.ConnContext,
		// What clients do wrong is theirs; it is worth a line only when searched for.
		ErrorLog: cfg.Log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	return s, nil
}

// Addr is where s listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Run serves until ctx ends, and then until the requests in flight are answered
// or the shutdown timeout is over.
func (s *Server) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() {
		if s.server.TLSConfig != nil {
			served <- s.server.ServeTLS(s.listener, "", "")
			return
		}
		served <- s.server.Serve(s.listener)
	}()
	select {
	case err := <-served:
		return fmt.Errorf("gateway: serve %s: %w", s.Addr(), err)
	case <-ctx.Done():
	}
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.shutdown)
	defer cancel()
	err := s.server.Shutdown(bound)
	if err != nil {
		err = errors.Join(fmt.Errorf("gateway: shut down: %w", err), s.server.Close())
	}
	if stopped := <-served; !errors.Is(stopped, http.ErrServerClosed) {
		err = errors.Join(err, stopped)
	}
	return err
}

// Close ends s at once.
func (s *Server) Close() error {
	return errors.Join(s.server.Close(), ignoreClosed(s.listener.Close()))
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// count closes connections beyond the bound.
func (s *Server) count(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if s.conns.Add(1) > MaxConns {
			_ = c.Close() // The server notices, and counts it out.
		}
	case http.StateClosed, http.StateHijacked:
		s.conns.Add(-1)
	}
}
