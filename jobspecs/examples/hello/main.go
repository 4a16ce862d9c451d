// Command hello is the example app: a small HTTP server that says which
// revision and instance answered, and misbehaves on request.
//
// Environment: PORT (8080), ADDR (host to listen on, default 127.0.0.1: all others
// are to come through the queue-proxy beside it), WADI_REVISION
// or K_REVISION, START_DELAY (duration before it listens), FAIL_START (exit 1
// at once). Query of any request, in this order: sleep=200ms, cpu=10ms (burns
// CPU), take=N (takes N bytes of memory, for good), crash=1 (exits with code 3),
// status=500, bytes=N (a body of N bytes), stream=N with every=50ms (N lines, each
// flushed), headers=1 (what came in, as text). With exclusive=1 it answers 500 while another such request is inside. A POST
// or PUT echoes its body. /healthz answers ok. With UPSTREAM (a base URL), /call/… is
// passed on to it, with a header Hello-X as X too: a caller for trying out the mesh.
// With UPSTREAMS (NAME=URL, several apart by spaces), so is /via/NAME/…. It speaks
// HTTP/1.1 and, to those who know that, HTTP/2. SIGTERM ends it when the running
// requests are done, and those of a last moment.
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
	"sync"
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

// run serves until ctx ends, and then finishes what it has begun.
func run(ctx context.Context, getenv func(string) string, out io.Writer) error {
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
	addr := net.JoinHostPort(or(getenv("ADDR"), "127.0.0.1"), or(getenv("PORT"), "8080"))
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	upstreams, err := parseUpstreams(getenv("UPSTREAM"), getenv("UPSTREAMS"))
	if err != nil {
		return err
	}
	app := &app{
		upstreams: upstreams,
		revision:  or(getenv("WADI_REVISION"), or(getenv("K_REVISION"), "no revision")),
		instance:  or(getenv("NOMAD_ALLOC_ID"), strconv.Itoa(os.Getpid())),
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
	// Shutdown closes connections on which a request has just come. So nobody is let in any
	// more, and those who are get their answers first.
	app.stopping.Store(true)
	if err := listener.Close(); err != nil {
		return fmt.Errorf("close listener: %w", err)
	}
	app.finish()
	// Nomad's kill_timeout is the bound; the app does not add one of its own.
	if err := server.Shutdown(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("finish requests: %w", err)
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	fmt.Fprintln(out, "done")
	return nil
}

// Requests of connections from before are served after SIGTERM until none has come for
// lastQuiet, and for lastMost at most.
const (
	lastQuiet = 300 * time.Millisecond
	lastMost  = 3 * time.Second
)

// finish waits until nobody asks any more.
func (a *app) finish() {
	a.asked.Store(time.Now().UnixNano())
	for end := time.Now().Add(lastMost); time.Now().Before(end); time.Sleep(lastQuiet / 10) {
		if time.Since(time.Unix(0, a.asked.Load())) > lastQuiet {
			return
		}
	}
}

type app struct {
	stopping           atomic.Bool  // Every answer is the last one of its connection.
	asked              atomic.Int64 // When a request came last, in Unix nanoseconds.
	revision, instance string
	upstreams          map[string]*url.URL // By the path below which they are called.
}

// parseUpstreams says below which path whom the app calls.
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
		a.asked.Store(time.Now().UnixNano())
		if a.stopping.Load() {
			w.Header().Set("Connection", "close")
		}
		mux.ServeHTTP(w, r)
	})
}

// exclusive refuses a request that asks to be alone and is not.
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

func (a *app) answer(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	k, err := parse(q)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	pause(r.Context(), k.sleep)
	burn(k.cpu)
	take(k.take)
	if q.Get("crash") == "1" {
		os.Exit(3)
	}
	w.Header().Set("Hello-Revision", a.revision)
	switch {
	case k.stream > 0:
		a.stream(w, r, k)
	case q.Get("headers") == "1":
		w.WriteHeader(k.status)
		fmt.Fprintf(w, "%s %s %s\r\nHost: %s\r\n", r.Method, r.RequestURI, r.Proto, r.Host)
		_ = r.Header.Write(w) // Fails only when the caller has gone.
	case r.Method == http.MethodPost || r.Method == http.MethodPut:
		if t := r.Header.Get("Content-Type"); t != "" {
			w.Header().Set("Content-Type", t)
		}
		echo(w, r, k.status)
	case k.bytes >= 0:
		w.Header().Set("Content-Length", strconv.FormatInt(k.bytes, 10))
		w.WriteHeader(k.status)
		_, _ = io.CopyN(w, xs{}, k.bytes) // Fails only when the caller has gone.
	default:
		w.WriteHeader(k.status)
		fmt.Fprintf(w, "hello from %s (instance %.8s)\n", a.revision, a.instance)
	}
}

// echo answers with the body, while it still comes in.
func echo(w http.ResponseWriter, r *http.Request, status int) {
	c := http.NewResponseController(w)
	_ = c.EnableFullDuplex() // HTTP/2 has it anyway.
	w.WriteHeader(status)
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Body.Read(buf)
		if _, werr := w.Write(buf[:n]); err != nil || werr != nil {
			return
		}
		if c.Flush() != nil {
			return
		}
	}
}

func (a *app) stream(w http.ResponseWriter, r *http.Request, k knobs) {
	c := http.NewResponseController(w)
	w.WriteHeader(k.status)
	for i := range k.stream {
		if i > 0 {
			pause(r.Context(), k.every)
		}
		if _, err := fmt.Fprintf(w, "%d %s\n", i, a.revision); err != nil || c.Flush() != nil {
			return
		}
	}
}

// knobs are the parts of a query that need parsing.
type knobs struct {
	sleep, cpu, every time.Duration
	bytes             int64 // -1 is not asked for.
	take              int
	stream, status    int
}

func parse(q url.Values) (knobs, error) {
	k := knobs{bytes: -1, status: http.StatusOK, every: 50 * time.Millisecond}
	var errs []error
	for key, to := range map[string]*time.Duration{"sleep": &k.sleep, "cpu": &k.cpu, "every": &k.every} {
		if s := q.Get(key); s != "" {
			d, err := time.ParseDuration(s)
			*to, errs = d, append(errs, err)
		}
	}
	if s := q.Get("bytes"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		k.bytes, errs = max(n, 0), append(errs, err)
	}
	for key, to := range map[string]*int{"stream": &k.stream, "status": &k.status, "take": &k.take} {
		if s := q.Get(key); s != "" {
			n, err := strconv.Atoi(s)
			*to, errs = n, append(errs, err)
		}
	}
	if k.status < 200 || k.status > 599 {
		errs = append(errs, fmt.Errorf("status %d is not between 200 and 599", k.status))
	}
	return k, errors.Join(errs...)
}

// pause waits, or less when nobody waits for it any more.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// burn keeps one core busy.
func burn(d time.Duration) {
	for end := time.Now().Add(d); d > 0 && time.Now().Before(end); {
	}
}

// taken is what callers had it take.
var taken struct {
	sync.Mutex
	all [][]byte
}

// take takes memory and writes to all of it, or the kernel would not give it.
func take(n int) {
	if n <= 0 {
		return
	}
	b := make([]byte, n)
	for i := 0; i < n; i += 4096 {
		b[i] = 1
	}
	taken.Lock()
	defer taken.Unlock()
	taken.all = append(taken.all, b)
}

// xs is an endless body.
type xs struct{}

func (xs) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
