package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"
)

func (a *app) answer(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	for key, values := range a.always {
		if !q.Has(key) {
			q[key] = values
		}
	}
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
	if a.version != "" {
		w.Header().Set("Hello-Version", a.version)
	}
	switch {
	case k.stream > 0:
		a.stream(w, r, k)
	case q.Get("headers") == "1":
		w.WriteHeader(k.status)
		fmt.Fprintf(w, "%s %s %s\r\nHost: %s\r\n", r.Method, r.RequestURI, r.Proto, r.Host)
		_ = r.Header.Write(w) // Fails only if the caller is gone.
	case r.Method == http.MethodPost || r.Method == http.MethodPut:
		if t := r.Header.Get("Content-Type"); t != "" {
			w.Header().Set("Content-Type", t)
		}
		echo(w, r, k.status)
	case k.bytes >= 0:
		w.Header().Set("Content-Length", strconv.FormatInt(k.bytes, 10))
		w.WriteHeader(k.status)
		_, _ = io.CopyN(w, xs{}, k.bytes) // Fails only if the caller is gone.
	default:
		w.WriteHeader(k.status)
		fmt.Fprintf(w, "hello from %s (instance %.8s)\n", a.revision, a.instance)
	}
}

// echo answers with the body, while it is still arriving.
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

// knobs are the parsed parts of a query.
type knobs struct {
	sleep, cpu, every time.Duration
	bytes             int64 // -1: not requested.
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

// pause waits for d, or until ctx ends.
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

// taken is the memory that callers made the app allocate.
var taken struct {
	sync.Mutex
	all [][]byte
}

// take allocates memory and writes to all of it: the kernel gives only written pages.
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

// Read implements io.Reader.
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
