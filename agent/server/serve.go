package server

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi"
)

// Serve answers on l until ctx ends, and then waits up to drainTimeout for requests in
// flight. It closes l. Without authentication it refuses listeners that are not loopback.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if s.Auth == wadi.AuthNone && !isLoopback(l.Addr()) {
		_ = l.Close()
		return fmt.Errorf("serve API on %s: auth = \"none\" is for loopback addresses only", l.Addr())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	hs := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ConnState:         s.ConnState,
		// Streams end with ctx; other requests continue until they are done.
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.WithoutCancel(ctx), stopKey{}, ctx.Done())
		},
		ErrorLog: s.Log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	done := make(chan error, 1)
	go func() {
		<-ctx.Done()
		done <- shutDown(ctx, hs)
	}()
	if s.TLS != nil {
		l = tls.NewListener(l, s.TLS)
	}
	err := hs.Serve(l)
	cancel()
	shutdown := <-done
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve API on %s: %w", l.Addr(), err)
	}
	if shutdown != nil {
		s.Log.Warn("requests cut off at shutdown", "error", shutdown)
	}
	return nil
}

// shutDown drains hs, whose ctx has ended, and then closes it. The error says that
// requests were cut off.
func shutDown(ctx context.Context, hs *http.Server) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	err := hs.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, hs.Close())
	}
	return err
}

// stopKey is the key, in a request's context, of the channel that is closed at shutdown.
type stopKey struct{}

// stopped is closed at shutdown; nil outside Serve.
func stopped(ctx context.Context) <-chan struct{} {
	ch, _ := ctx.Value(stopKey{}).(<-chan struct{})
	return ch
}

// reply answers with v as JSON.
func (s *Server) reply(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)) // The server lifts it.
	w.WriteHeader(status)
	// An error means that the caller is gone.
	_, _ = w.Write(append(body, '\n'))
	return nil
}

// untilStopped returns a context that ends with ctx, and at shutdown.
func untilStopped(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := stopped(ctx)
	if stop == nil {
		return ctx, cancel
	}
	go func() {
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
