package registry_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi/internal/registry"
)

// Answers that never end, or are too large, end in time and in bounded memory.
func TestAttack_Endless(t *testing.T) {
	flood := func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		b := []byte(strings.Repeat("x", 64<<10))
		for r.Context().Err() == nil {
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	}
	drip := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = w.Write([]byte("x"))
			_ = http.NewResponseController(w).Flush()
			time.Sleep(5 * time.Millisecond)
		}
	}
	silent := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	onGet := func(h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			h(w, r)
		}
	}
	onToken := func(h http.HandlerFunc) func(*fake) http.HandlerFunc {
		return func(f *fake) http.HandlerFunc {
			b := bearer(func() string { return f.URL + "/token" })
			return func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/token" {
					h(w, r)
					return
				}
				b(w, r)
			}
		}
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(make([]byte, 16<<20)); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	plain := func(h http.HandlerFunc) func(*fake) http.HandlerFunc {
		return func(*fake) http.HandlerFunc { return h }
	}
	for name, tt := range map[string]struct {
		handler func(*fake) http.HandlerFunc
		kind    error
	}{
		"no answer":            {plain(silent), registry.ErrUnavailable},
		"manifest without end": {plain(onGet(flood)), registry.ErrMalformed},
		"manifest by drops":    {plain(onGet(drip)), registry.ErrUnavailable},
		"token without end":    {onToken(flood), registry.ErrMalformed},
		"token by drops":       {onToken(drip), registry.ErrUnavailable},
		"no token":             {onToken(silent), registry.ErrUnavailable},
		"redirects without end": {func(f *fake) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) { to(f.URL+r.URL.Path+"/a")(w, r) }
		}, registry.ErrMalformed},
		"redirect to itself": {plain(to("")), registry.ErrMalformed},
		"token redirects":    {onToken(to("/token")), registry.ErrMalformed},
		"large headers": {plain(func(w http.ResponseWriter, r *http.Request) {
			for i := range 3000 {
				w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("a", 100))
			}
			manifest(w, r)
		}), registry.ErrUnavailable},
		"hints without end": {plain(func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				w.Header().Set("Link", "</a>")
				w.WriteHeader(http.StatusEarlyHints)
			}
		}), registry.ErrUnavailable},
		"compressed": {plain(onGet(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(packed.Bytes())
		})), nil}, // 16 KiB as they come: never unpacked.
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			within := 30 * time.Second
			if tt.kind == registry.ErrUnavailable {
				within = time.Second // They have no other end.
			}
			var f *fake
			f = serve(t, func(w http.ResponseWriter, r *http.Request) { tt.handler(f)(w, r) })
			_, err := resolve(t, resolver(t, registry.Settings{Timeout: within}), f.image(), own)
			if name == "redirects without end" && !strings.Contains(fmt.Sprint(err), "redirects more than 5 times") {
				t.Errorf("got %v", err)
			}
			if tt.kind == nil {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			wantKind(t, err, tt.kind)
		})
	}
}

// A server that sends headers without end, byte by byte or as one line, is no registry.
func TestAttack_EndlessHeaders(t *testing.T) {
	for name, send := range map[string]func(*bufio.Writer) error{
		"lines": func(w *bufio.Writer) error {
			_, err := w.WriteString("X-A: " + strings.Repeat("b", 1000) + "\r\n")
			return err
		},
		"line": func(w *bufio.Writer) error { _, err := w.WriteString("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"); return err },
		"noise": func(w *bufio.Writer) error {
			b := make([]byte, 512)
			_, _ = rand.Read(b)
			_, err := w.Write(b)
			return err
		},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer func() { _ = c.Close() }()
					w := bufio.NewWriter(c)
					_, _ = w.WriteString("HTTP/1.1 200 OK\r\n")
					for send(w) == nil {
						if w.Flush() != nil {
							return
						}
					}
				}()
			}
		}()
		_, err = resolve(t, resolver(t, registry.Settings{}), l.Addr().String()+"/a/b:1", registry.Credentials{})
		if !errors.Is(err, registry.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
