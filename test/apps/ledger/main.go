// Command ledger is the app of the fault matrix: it writes down each request when it begins
// and when it ends, so that the test knows what was lost, ran twice, or was under way when an
// instance was stopped.
//
// Environment: PORT (8080), ADDR (host to listen on, default 127.0.0.1), START_DELAY
// (duration before it listens), LEDGER (the file; all instances append to one), STATUS (of
// every answer, default 200), FAIL_START (exits with 1).
//
// A request has its number in the query n, and may ask for a pause with sleep=DURATION. The
// answer is "n=NUMBER instance=ALLOCATION". A line of the file is B or E, the time in
// nanoseconds, the allocation and the number. /healthz answers ok and writes nothing.
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
	"strconv"
	"syscall"
	"time"

	"github.com/wadi-run/wadi/test/apps/launch"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Getenv); err != nil {
		fmt.Fprintln(os.Stderr, "ledger:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, and then finishes what it has begun.
func run(ctx context.Context, getenv func(string) string) error {
	if getenv("FAIL_START") != "" {
		return errors.New("FAIL_START is set")
	}
	a, err := open(getenv)
	if err != nil {
		return err
	}
	defer a.file.Close()
	l, err := launch.Listen(ctx, getenv)
	if err != nil {
		return err
	}
	s := &http.Server{Handler: a, ReadHeaderTimeout: 10 * time.Second}
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

// app answers requests and writes them down.
type app struct {
	file     *os.File
	instance string
	status   int
}

func open(getenv func(string) string) (*app, error) {
	a := &app{instance: getenv("NOMAD_ALLOC_ID"), status: http.StatusOK}
	if s := getenv("STATUS"); s != "" {
		var err error
		if a.status, err = strconv.Atoi(s); err != nil {
			return nil, fmt.Errorf("read STATUS: %w", err)
		}
	}
	// Each line is one write, and none goes into another.
	var err error
	if a.file, err = os.OpenFile(getenv("LEDGER"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return nil, fmt.Errorf("open LEDGER: %w", err)
	}
	return a, nil
}

// ServeHTTP implements http.Handler.
func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/healthz" {
		fmt.Fprintln(w, "ok")
		return
	}
	q := r.URL.Query()
	n, err := strconv.ParseUint(q.Get("n"), 10, 64)
	if err != nil {
		http.Error(w, "n is the request's number", http.StatusBadRequest)
		return
	}
	var sleep time.Duration
	if s := q.Get("sleep"); s != "" {
		if sleep, err = time.ParseDuration(s); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	if err := a.note("B", n); err != nil {
		http.Error(w, err.Error(), http.StatusInsufficientStorage)
		return
	}
	launch.Pause(r.Context(), sleep)
	if err := a.note("E", n); err != nil {
		http.Error(w, err.Error(), http.StatusInsufficientStorage)
		return
	}
	w.WriteHeader(a.status)
	fmt.Fprintf(w, "n=%d instance=%.8s\n", n, a.instance)
}

func (a *app) note(what string, n uint64) error {
	_, err := fmt.Fprintf(a.file, "%s %d %s %d\n", what, time.Now().UnixNano(), a.instance, n)
	return err
}
