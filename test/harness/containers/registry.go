package containers

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// RegistryOptions of a registry.
type RegistryOptions struct {
	Address string // Listens there; empty is a free port of 127.0.0.1.

	// TLS: it speaks HTTPS, with a certificate that [Registry.CA] has signed. An engine
	// does not verify it on loopback.
	TLS bool

	// Username and Password that a puller needs; without a Username anybody may pull.
	Username, Password string

	// Token: a puller exchanges its credentials, or nothing, for a token first, as at
	// Docker Hub. Otherwise credentials are sent with each request (basic auth).
	Token bool
}

// Kind is a kind of request to a registry.
type Kind string

// The kinds of requests.
const (
	KindPing         Kind = "ping"          // GET /v2/
	KindManifestHead Kind = "manifest head" // HEAD of a manifest, by tag or digest.
	KindManifest     Kind = "manifest"      // GET of a manifest, by tag or digest.
	KindBlob         Kind = "blob"          // GET or HEAD of a configuration or layer.
	KindToken        Kind = "token"         // GET of a token.
	KindOther        Kind = "other"
)

// Registry is a registry of images in memory. It counts what it is asked, also what it
// refuses, and can be told to fail.
type Registry struct {
	options RegistryOptions
	server  *httptest.Server
	images  http.Handler // Without authentication, counts and faults.

	mu     sync.Mutex   // Guards the fields below.
	counts map[Kind]int // Requests since the last ResetCounts.
	faults []*Fault
}

// StartRegistry serves an empty registry until Close.
func StartRegistry(o RegistryOptions) (*Registry, error) {
	r := &Registry{
		options: o, counts: map[Kind]int{},
		images: registry.New(registry.Logger(log.New(io.Discard, "", 0))),
	}
	if o.Address == "" {
		o.Address = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", o.Address)
	if err != nil {
		return nil, fmt.Errorf("start a registry: %w", err)
	}
	r.server = httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	_ = r.server.Listener.Close() // It has another one.
	r.server.Listener = listener
	r.server.Config.ErrorLog = log.New(io.Discard, "", 0) // Handshakes that a test breaks off.
	if !o.TLS {
		r.server.Start()
		return r, nil
	}
	certificate, err := issue(listener.Addr().(*net.TCPAddr).IP)
	if err != nil {
		r.server.Close()
		return nil, fmt.Errorf("start a registry: %w", err)
	}
	r.server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	r.server.StartTLS()
	return r, nil
}

// Close ends the registry and its connections. Its images are gone.
func (r *Registry) Close() {
	r.server.CloseClientConnections()
	r.server.Close()
}

// Address is host:port, the beginning of each image's name.
func (r *Registry) Address() string { return r.server.Listener.Addr().String() }

// Ref is the whole name of an image, such as "127.0.0.1:5000/app:1" for "app:1".
func (r *Registry) Ref(ref string) string { return r.Address() + "/" + ref }

// Push stores an image under a name within the registry, such as "app:1", and returns its
// digest, such as "sha256:…". It is not counted, and no fault or password stops it.
func (r *Registry) Push(ref string, image v1.Image) (digest string, err error) {
	tag, err := r.tag(ref)
	if err == nil {
		err = remote.Write(tag, image, remote.WithTransport(direct{r.images}))
	}
	if err != nil {
		return "", fmt.Errorf("push %s: %w", ref, err)
	}
	hash, err := image.Digest()
	return hash.String(), err
}

// PushIndex is Push for an index of images.
func (r *Registry) PushIndex(ref string, index v1.ImageIndex) (digest string, err error) {
	tag, err := r.tag(ref)
	if err == nil {
		err = remote.WriteIndex(tag, index, remote.WithTransport(direct{r.images}))
	}
	if err != nil {
		return "", fmt.Errorf("push %s: %w", ref, err)
	}
	hash, err := index.Digest()
	return hash.String(), err
}

// Remove removes a tag, such as "app:1".
func (r *Registry) Remove(ref string) error {
	tag, err := r.tag(ref)
	if err == nil {
		err = remote.Delete(tag, remote.WithTransport(direct{r.images}))
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", ref, err)
	}
	return nil
}

func (r *Registry) tag(ref string) (name.Tag, error) {
	return name.NewTag(r.Ref(ref), name.StrictValidation, name.Insecure)
}

// Count is how many requests of these kinds came since the last ResetCounts; of all kinds
// if none is named.
func (r *Registry) Count(kinds ...Kind) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	if len(kinds) == 0 {
		for _, c := range r.counts {
			n += c
		}
	}
	for _, k := range kinds {
		n += r.counts[k]
	}
	return n
}

// ResetCounts sets all counts to zero.
func (r *Registry) ResetCounts() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.counts)
}

func (r *Registry) serve(w http.ResponseWriter, req *http.Request) {
	kind := kindOf(req)
	r.mu.Lock()
	r.counts[kind]++
	r.mu.Unlock()
	if kind == KindToken {
		r.serveToken(w, req)
		return
	}
	if !r.allowed(req) {
		r.challenge(w, req)
		return
	}
	if fault := r.fault(kind, req.URL.Path); fault != nil {
		fault.serve(w, req, r.images)
		return
	}
	r.images.ServeHTTP(w, req)
}

func kindOf(req *http.Request) Kind {
	switch p := req.URL.Path; {
	case p == tokenPath:
		return KindToken
	case req.Method != http.MethodGet && req.Method != http.MethodHead:
		return KindOther
	case p == "/v2/" || p == "/v2":
		return KindPing
	case strings.Contains(p, "/manifests/") && req.Method == http.MethodHead:
		return KindManifestHead
	case strings.Contains(p, "/manifests/"):
		return KindManifest
	case strings.Contains(p, "/blobs/"):
		return KindBlob
	}
	return KindOther
}

// refuse answers with an error in the registry's form.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{ // Fails only if the caller is gone.
		"errors": []map[string]string{{"code": code, "message": message}},
	})
}

// direct sends requests to a handler, without a network.
type direct struct{ to http.Handler }

func (d direct) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body == nil {
		req = req.Clone(context.WithoutCancel(req.Context()))
		req.Body = http.NoBody
	}
	defer req.Body.Close()
	if req.Context().Err() != nil {
		return nil, errors.New("canceled")
	}
	answer := httptest.NewRecorder()
	d.to.ServeHTTP(answer, req)
	res := answer.Result()
	res.Request = req
	return res, nil
}
