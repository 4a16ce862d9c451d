// Command hello is the example app: a small HTTP server that names the revision and
// instance that answered, and misbehaves on request.
//
// It speaks HTTP/1.1 and, to clients that know it in advance, HTTP/2. SIGTERM ends it when
// the running requests are done, and those of a last moment.
//
// Environment:
//
//	PORT                           port to listen on; 8080
//	ADDR                           host to listen on; 127.0.0.1, as callers come through the queue-proxy beside it
//	WADI_REVISION, or K_REVISION   the name in its answers
//	VERSION                        the header Hello-Version of its answers; an image may have one
//	START_DELAY                    duration before it listens
//	FAIL_START                     exits with 1 at once
//	ANSWER                         a query that each request has besides its own, which wins: status=500
//	UPSTREAM                       base URL that /call/… is forwarded to, with a header Hello-X as X too
//	UPSTREAMS                      NAME=URL, separated by spaces: the same for /via/NAME/…
//
// /healthz answers ok. A POST or PUT echoes its body. The query of any request, in this
// order:
//
//	sleep=200ms           waits
//	cpu=10ms              burns CPU
//	take=N                allocates N bytes of memory, for good
//	crash=1               exits with 3
//	status=500            answers with this status
//	bytes=N               answers with a body of N bytes
//	stream=N, every=50ms  answers with N lines, each flushed
//	headers=1             answers with the request's head, as text
//	exclusive=1           answers 500 while another such request is running
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Getenv, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "hello:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, and then finishes the running requests.
func run(ctx context.Context, getenv func(string) string, out io.Writer) error {
	if err := misbehaveAtStart(ctx, getenv); err != nil {
		return err
	}
	addr := net.JoinHostPort(or(getenv("ADDR"), "127.0.0.1"), or(getenv("PORT"), "8080"))
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	upstreams, err := parseUpstreams(getenv("UPSTREAM"), getenv("UPSTREAMS"))
	if err != nil {
		return err
	}
	always, err := url.ParseQuery(getenv("ANSWER"))
	if err == nil {
		_, err = parse(always)
	}
	if err != nil {
		return fmt.Errorf("read ANSWER: %w", err)
	}
	app := &app{
		upstreams: upstreams,
		always:    always,
		revision:  or(getenv("WADI_REVISION"), or(getenv("K_REVISION"), "no revision")),
		instance:  or(getenv("NOMAD_ALLOC_ID"), strconv.Itoa(os.Getpid())),
		version:   getenv("VERSION"),
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: app.handler(), Protocols: &protocols, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	fmt.Fprintf(out, "%s listens on %s\n", app.revision, listener.Addr())

	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	if err := app.drain(ctx, listener, server); err != nil {
		return err
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	fmt.Fprintln(out, "done")
	return nil
}

func misbehaveAtStart(ctx context.Context, getenv func(string) string) error {
	if getenv("FAIL_START") != "" && getenv("FAIL_START") != "0" {
		return errors.New("FAIL_START is set")
	}
	if d := getenv("START_DELAY"); d != "" {
		delay, err := time.ParseDuration(d)
		if err != nil {
			return fmt.Errorf("read START_DELAY: %w", err)
		}
		pause(ctx, delay)
	}
	return nil
}

// drain accepts no more connections, answers the requests of present ones, and returns
// when all are done. Shutdown alone would close a connection on which a request has just
// arrived. Nomad's kill_timeout bounds the drain; the app adds no bound of its own.
func (a *app) drain(ctx context.Context, listener net.Listener, server *http.Server) error {
	a.stopping.Store(true)
	if err := listener.Close(); err != nil {
		return fmt.Errorf("close listener: %w", err)
	}
	a.waitQuiet()
	if err := server.Shutdown(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("finish requests: %w", err)
	}
	return nil
}

// Requests on present connections are answered after SIGTERM until none has come for
// drainQuiet, and for drainMax at most.
const (
	drainQuiet = 300 * time.Millisecond
	drainMax   = 3 * time.Second
)

// waitQuiet waits until no more requests come.
func (a *app) waitQuiet() {
	a.lastRequest.Store(time.Now().UnixNano())
	for end := time.Now().Add(drainMax); time.Now().Before(end); time.Sleep(drainQuiet / 10) {
		if time.Since(time.Unix(0, a.lastRequest.Load())) > drainQuiet {
			return
		}
	}
}

type app struct {
	stopping           atomic.Bool  // Every answer is the last one of its connection.
	lastRequest        atomic.Int64 // Arrival of the last request, in Unix nanoseconds.
	revision, instance string
	version            string              // Empty: none.
	always             url.Values          // What every query says that does not say otherwise.
	upstreams          map[string]*url.URL // By path prefix.
}

// parseUpstreams returns the upstreams of UPSTREAM and UPSTREAMS by path prefix.
func parseUpstreams(one, named string) (map[string]*url.URL, error) {
	all := map[string]*url.URL{}
	add := func(prefix, base string) error {
		u, err := url.Parse(base)
		if err != nil {
			return fmt.Errorf("read upstream: %w", err)
		}
		all[prefix] = u
		return nil
	}
	if one != "" {
		if err := add("/call", one); err != nil {
			return nil, err
		}
	}
	for _, f := range strings.Fields(named) {
		name, base, ok := strings.Cut(f, "=")
		if !ok || name == "" || strings.Contains(name, "/") {
			return nil, fmt.Errorf("read UPSTREAMS: %q is not NAME=URL", f)
		}
		if err := add("/via/"+name, base); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (a *app) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/", exclusive(a.answer))
	for prefix, to := range a.upstreams {
		mux.Handle(prefix+"/", http.StripPrefix(prefix, &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(to)
				for k, v := range r.In.Header {
					if name, ok := strings.CutPrefix(k, "Hello-"); ok {
						r.Out.Header[name] = v
					}
				}
			},
		}))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.lastRequest.Store(time.Now().UnixNano())
		if a.stopping.Load() {
			w.Header().Set("Connection", "close")
		}
		mux.ServeHTTP(w, r)
	})
}

// exclusive refuses a request with exclusive=1 while another one is running.
func exclusive(next http.HandlerFunc) http.HandlerFunc {
	var inside atomic.Int32
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("exclusive") == "1" {
			defer inside.Add(-1)
			if n := inside.Add(1); n > 1 {
				http.Error(w, fmt.Sprintf("%d requests at once", n), http.StatusInternalServerError)
				return
			}
		}
		next(w, r)
	}
}
