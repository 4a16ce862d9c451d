// Command corners is the app of the data plane's tests: it uses the corners of HTTP
// that few apps use, so the tests see whether they pass through.
//
// Environment: PORT (8080), ADDR (host to listen on, default 127.0.0.1), START_DELAY
// (duration before it listens). It speaks HTTP/1.1 and HTTP/2 without TLS.
//
//	/uri        answers the request line's target, the host and the header, as text
//	/count      reads the body, answers "BYTES CRC" (CRC-32C), with refuse=1 417 at once
//	/bytes      answers n=N bytes of Pattern
//	/trailers   answers the body's length in the trailer Sum, and X-Tail's value in Came
//	/hints      answers 103 with a Link, then 200
//	/early      answers 403 without reading the body
//	/duplex     answers each line of the body when it comes
//	/events     answers an event, and the next event when /go?key=K has come
//	/hold       answers when /go?key=K has come; /order lists the requests in order
//	/alone      answers 500 if two such requests overlap; lasts for=DURATION
//	/sleep      answers after for=DURATION
//	/half       answers a part of a body, and never the rest
//	/die        answers a part of a body, and breaks off
//	/hop        answers with headers that are for the next hop alone, and with Wadi's
//	/switch     switches protocols, and echoes its input; at its end "bye"
//
// SIGTERM ends it when the running requests are done.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/wadi-run/wadi/test/apps/launch"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Getenv); err != nil {
		fmt.Fprintln(os.Stderr, "corners:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, and then finishes what it has begun.
func run(ctx context.Context, getenv func(string) string) error {
	l, err := launch.Listen(ctx, getenv)
	if err != nil {
		return err
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Handler: newApp().handler(), Protocols: &protocols, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	// Nomad's kill_timeout is the bound.
	if err := s.Shutdown(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("finish requests: %w", err)
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}
