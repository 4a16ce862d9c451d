package acme_test

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wadi-run/wadi/internal/acme"
)

// Whatever answers at the address of an authority, an attempt ends with an error, in bounded
// memory.
func TestAuthority_Nonsense(t *testing.T) {
	directory := func(base string) string {
		return fmt.Sprintf(`{"newNonce":%q,"newAccount":%q,"newOrder":%q}`, base+"/nonce", base+"/account", base+"/order")
	}
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request, base string){
		"no JSON":   func(w http.ResponseWriter, _ *http.Request, _ string) { _, _ = io.WriteString(w, "hello") },
		"not found": func(w http.ResponseWriter, r *http.Request, _ string) { http.NotFound(w, r) },
		"empty": func(w http.ResponseWriter, _ *http.Request, _ string) {
			w.Header().Set("Content-Type", "application/json")
		},
		"empty JSON": func(w http.ResponseWriter, _ *http.Request, _ string) { asJSON(w, "{}") },
		"of JSON":    func(w http.ResponseWriter, _ *http.Request, _ string) { asJSON(w, `{"newNonce": 7}`) },
		"plain HTTP": func(w http.ResponseWriter, r *http.Request, _ string) {
			http.Redirect(w, r, "http://127.0.0.1:1/dir", http.StatusFound)
		},
		"in a circle": func(w http.ResponseWriter, r *http.Request, _ string) {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		},
		"endless": func(w http.ResponseWriter, _ *http.Request, _ string) {
			w.Header().Set("Content-Type", "application/json")
			for range 64 {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		},
		"no nonce": func(w http.ResponseWriter, r *http.Request, base string) {
			if r.URL.Path == "/dir" {
				asJSON(w, directory(base))
			}
		},
		"no account": func(w http.ResponseWriter, r *http.Request, base string) {
			w.Header().Set("Replay-Nonce", "one")
			switch r.URL.Path {
			case "/dir":
				asJSON(w, directory(base))
			case "/account":
				asJSON(w, `{"status":"valid"}`) // And nowhere to be found.
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var base string
			srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r, base) }))
			defer srv.Close()
			base = srv.URL
			file := filepath.Join(t.TempDir(), "ca.pem")
			text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
			a, err := acme.NewAuthority(acme.AuthorityConfig{Directory: srv.URL + "/dir", CAFile: file})
			if err != nil {
				t.Fatal(err)
			}
			l := newLeader(newKept(), claimed("a.com"))
			l.Issuer = a
			defer l.run(t)()
			for l.kept.of("a.com").Order.Failures == 0 {
				time.Sleep(time.Millisecond)
			}
			if o := l.kept.of("a.com").Order; o.Reason == "" || o.Error == "" || len(o.Error) > 4*300 || strings.Contains(o.Error, "\n") {
				t.Errorf("got %+v", o)
			}
		})
	}
}

func asJSON(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, text)
}

// A certificate for another domain or another key, of the past, or one that is none, never
// takes the place of a good one.
func TestAuthority_WrongCertificate(t *testing.T) {
	ask, other := acme.Ask{Domain: "a.com", Key: privateKey(t)}, acme.Ask{Domain: "a.com", Key: privateKey(t)}
	elsewhere := acme.Ask{Domain: "b.com", Key: ask.Key}
	for name, tt := range map[string]struct {
		of   acme.Ask
		life time.Duration
		good bool
	}{
		"good": {ask, time.Hour, true}, "another key": {other, time.Hour, false},
		"another domain": {elsewhere, time.Hour, false}, "expired": {ask, -time.Hour, false},
	} {
		chain, err := chainFor(tt.of, tt.life)
		if err != nil {
			t.Fatal(err)
		}
		if err := acme.Check(chain, ask, time.Now()); (err == nil) != tt.good {
			t.Errorf("%s: %v", name, err)
		}
		if err := acme.Check(append(chain, make([]byte, 64<<10)...), ask, time.Now()); err == nil {
			t.Errorf("%s: a chain without bound is kept", name)
		}
	}
	for _, text := range []string{"", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		if err := acme.Check([]byte(text), ask, time.Now()); err == nil {
			t.Errorf("%q is taken for a certificate", text)
		}
	}
}
