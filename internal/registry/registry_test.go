package registry_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/wadi-run/wadi/internal/registry"
)

const (
	secret = "s3cr3t-PassWord"
	digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
)

// fake is a registry whose answers a test makes. It notes all requests.
type fake struct {
	*httptest.Server
	host string

	mu  sync.Mutex
	got []*http.Request
}

func (f *fake) requests() []*http.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*http.Request(nil), f.got...)
}

func (f *fake) image() string { return f.host + "/team/web:1" }

func (f *fake) noting(h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.got = append(f.got, r)
		f.mu.Unlock()
		h(w, r)
	})
}

func serve(t *testing.T, h http.HandlerFunc) *fake {
	t.Helper()
	f := &fake{}
	f.Server = httptest.NewUnstartedServer(f.noting(h))
	f.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.Start()
	t.Cleanup(f.Close)
	f.host = strings.TrimPrefix(f.URL, "http://")
	return f
}

func serveTLS(t *testing.T, h http.HandlerFunc) *fake {
	t.Helper()
	f := &fake{}
	f.Server = httptest.NewUnstartedServer(f.noting(h))
	f.Config.ErrorLog = log.New(io.Discard, "", 0) // Of handshakes that are to fail.
	f.StartTLS()
	t.Cleanup(f.Close)
	f.host = strings.TrimPrefix(f.URL, "https://")
	return f
}

// manifest answers as a registry that has the image.
func manifest(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	w.Header().Set("Docker-Content-Digest", digest)
	w.Header().Set("Content-Length", "7")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write([]byte("{\"a\":1}"))
}

func resolver(t *testing.T, s registry.Settings) *registry.Resolver {
	t.Helper()
	r, err := registry.New(registry.Options{Settings: s})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wantKind checks an error's kind, and that it holds no secret and one line.
func wantKind(t *testing.T, err, kind error, words ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("error %v, want one of kind %q", err, kind)
	}
	text := err.Error()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("the error %q lacks %q", text, w)
		}
	}
	if strings.Contains(text, secret) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) || len(text) > 900 {
		t.Errorf("the error shows too much: %q", text)
	}
}

func resolve(t *testing.T, r *registry.Resolver, image string, own registry.Credentials) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return r.Resolve(ctx, image, own)
}

// A real registry's tag, of an image and of an index.
func TestResolve(t *testing.T) {
	srv := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	defer srv.Close()
	host := strings.TrimPrefix(srv.URL, "http://")
	one, err := name.ParseReference(host + "/team/web:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(one, empty.Image); err != nil {
		t.Fatal(err)
	}
	many, _ := name.ParseReference(host + "/team/web:many")
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: empty.Image})
	if err := remote.WriteIndex(many, index); err != nil {
		t.Fatal(err)
	}
	imageDigest, _ := empty.Image.Digest()
	indexDigest, _ := index.Digest()
	r := resolver(t, registry.Settings{})
	for image, want := range map[string]string{
		host + "/team/web:1":               imageDigest.String(),
		"docker://" + host + "/team/web:1": imageDigest.String(),
		host + "/team/web:many":            indexDigest.String(),
		host + "/team/web:other@" + digest: digest,
		"never.invalid/team/web@" + digest: digest,
	} {
		if got, err := resolve(t, r, image, registry.Credentials{}); got != want || err != nil {
			t.Errorf("%s has %q, %v, want %s", image, got, err, want)
		}
	}
	_, err = resolve(t, r, host+"/team/web:none", registry.Credentials{})
	wantKind(t, err, registry.ErrNotFound, `image "`+host+`/team/web:none"`, `no tag "none" of team/web`)
	_, err = resolve(t, r, host+"/team/nothing", registry.Credentials{})
	wantKind(t, err, registry.ErrNotFound, host, "no image team/nothing")
}

func TestResolve_NotAtARegistry(t *testing.T) {
	r := resolver(t, registry.Settings{})
	for image, kind := range map[string]error{
		"oci-archive:/tmp/a.tar": registry.ErrLocal, "sha256:abcd": registry.ErrLocal, "containers-storage:web": registry.ErrLocal,
		"a b": registry.ErrImage, "": registry.ErrImage, "user:" + secret + "@r.example.com/a": registry.ErrImage,
	} {
		_, err := resolve(t, r, image, registry.Credentials{})
		if !errors.Is(err, kind) {
			t.Errorf("%q: %v, want %v", image, err, kind)
		}
	}
}
