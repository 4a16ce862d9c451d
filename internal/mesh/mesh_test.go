package mesh_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/wadi-run/wadi/internal/mesh"
)

const trustDomain = "11111111-2222-3333-4444-555555555555.consul"

// ca is a certificate authority of a mesh.
type ca struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCA(t *testing.T) *ca {
	t.Helper()
	key := newKey(t)
	tmpl := &x509.Certificate{
		SerialNumber: serial(t), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), URIs: []*url.URL{{Scheme: "spiffe", Host: trustDomain}},
	}
	return &ca{sign(t, tmpl, tmpl, key, key), key}
}

// leaf issues a service's certificate.
func (c *ca) leaf(t *testing.T, service string) (certPEM, keyPEM []byte) {
	t.Helper()
	key := newKey(t)
	cert := sign(t, &x509.Certificate{
		SerialNumber: serial(t), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		URIs: []*url.URL{{Scheme: "spiffe", Host: trustDomain, Path: "/ns/default/dc/dc1/svc/" + service}},
	}, c.cert, key, c.key)
	der, err := x509.MarshalECPrivateKey(key) // As Consul does.
	if err != nil {
		t.Fatal(err)
	}
	return encode("CERTIFICATE", cert.Raw), encode("EC PRIVATE KEY", der)
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func serial(t *testing.T) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, big.NewInt(1<<60))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func sign(t *testing.T, tmpl, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// consul is a fake of Consul's agent that hands out certificates.
type consul struct {
	t *testing.T

	mu      sync.Mutex
	index   uint64
	roots   []*ca
	signer  *ca
	leaves  map[string]api.LeafCert
	changed chan struct{}
}

func newConsul(t *testing.T, c *ca) *consul {
	return &consul{t: t, index: 10, roots: []*ca{c}, signer: c, leaves: map[string]api.LeafCert{}, changed: make(chan struct{})}
}

// set changes the certificates: new leaves are signed by signer. The index may be
// anything.
func (c *consul) set(index uint64, signer *ca, roots ...*ca) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.index, c.signer, c.roots, c.leaves = index, signer, roots, map[string]api.LeafCert{}
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *consul) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	if want, _ := strconv.ParseUint(r.URL.Query().Get("index"), 10, 64); want != 0 && want == c.index {
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-r.Context().Done():
		}
		c.mu.Lock()
	}
	defer c.mu.Unlock()
	w.Header().Set("X-Consul-Index", strconv.FormatUint(c.index, 10))
	if strings.HasSuffix(r.URL.Path, "/roots") {
		list := api.CARootList{TrustDomain: trustDomain}
		for _, root := range c.roots {
			list.Roots = append(list.Roots, &api.CARoot{ID: "r", RootCertPEM: string(encode("CERTIFICATE", root.cert.Raw))})
		}
		_ = json.NewEncoder(w).Encode(list)
		return
	}
	service := path.Base(r.URL.Path)
	l, ok := c.leaves[service]
	if !ok {
		cert, key := c.signer.leaf(c.t, service)
		l = api.LeafCert{Service: service, CertPEM: string(cert), PrivateKeyPEM: string(key)}
		c.leaves[service] = l
	}
	_ = json.NewEncoder(w).Encode(l)
}

// source runs a Source until the test ends.
func source(t *testing.T, c *consul, services ...string) *mesh.Source {
	t.Helper()
	return settling(t, c, time.Millisecond, services...)
}

// settling is a source that delays rotations for a time.
func settling(t *testing.T, c *consul, settle time.Duration, services ...string) *mesh.Source {
	t.Helper()
	srv := httptest.NewServer(c)
	t.Cleanup(srv.Close)
	a, err := api.NewClient(&api.Config{Address: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	s := &mesh.Source{API: func() *api.Client { return a }, Services: services, RotationDelay: settle}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-s.Ready():
	case <-time.After(10 * time.Second):
		t.Fatal("not ready")
	}
	return s
}

// serve accepts mTLS connections, reports the caller and echoes.
func serve(t *testing.T, cfg *tls.Config) (addr string, callers <-chan string) {
	t.Helper()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	ids := make(chan string, 100)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				if err := c.(*tls.Conn).Handshake(); err != nil {
					return
				}
				id, err := mesh.PeerID(c.(*tls.Conn).ConnectionState())
				if err != nil {
					id = err.Error()
				}
				select {
				case ids <- id:
				default: // No caller asks.
				}
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return ln.Addr().String(), ids
}

// ping sends a byte over c and waits for its echo.
func ping(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte{1}); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

// try dials, pings and hangs up.
func try(ctx context.Context, s *mesh.Source, addr, service string) (tls.ConnectionState, error) {
	c, err := s.Dial(ctx, addr, service)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer func() { _ = c.Close() }()
	return c.(*tls.Conn).ConnectionState(), ping(c)
}

func TestDial(t *testing.T) {
	authority := newCA(t)
	cons := newConsul(t, authority)
	activator, hello := source(t, cons), source(t, cons, "hello")
	addr, callers := serve(t, hello.ServerConfig())

	state, err := try(t.Context(), activator, addr, "hello")
	if err != nil {
		t.Fatal(err)
	}
	if got := <-callers; got != "wadi-activator" {
		t.Fatalf("caller is %q, want wadi-activator", got)
	}
	if want := "hello.default.dc1.internal." + trustDomain; state.ServerName != want {
		t.Fatalf("SNI %q, want %q", state.ServerName, want)
	}
	if state.NegotiatedProtocol != "http/1.1" {
		t.Fatalf("protocol %q, want http/1.1", state.NegotiatedProtocol)
	}
	state, err = try(t.Context(), activator, addr, "hello")
	if err != nil || !state.DidResume {
		t.Fatalf("the second dial did not resume the first one's session (%v)", err)
	}
	if _, err := try(t.Context(), activator, addr, "other"); err == nil {
		t.Fatal("an instance of another service was taken for the one that was meant")
	}
}

func TestServer_LeafBySNI(t *testing.T) {
	cons := newConsul(t, newCA(t))
	activator := source(t, cons, "wadi-activator", "wadi-activator-grpc")
	web := source(t, cons, "web")
	addr, callers := serve(t, activator.ServerConfig())
	for _, service := range []string{"wadi-activator", "wadi-activator-grpc"} {
		if _, err := try(t.Context(), web, addr, service); err != nil {
			t.Fatalf("%s: %v", service, err)
		}
		if got := <-callers; got != "web" {
			t.Fatalf("caller is %q, want web", got)
		}
	}
}

func TestServer_RefusesStrangers(t *testing.T) {
	cons := newConsul(t, newCA(t))
	addr, _ := serve(t, source(t, cons).ServerConfig())
	strange := newCA(t)
	cert, key := strange.leaf(t, "web")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	for name, certs := range map[string][]tls.Certificate{"no certificate": nil, "another mesh": {pair}} {
		t.Run(name, func(t *testing.T) {
			c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, Certificates: certs})
			if err == nil {
				err = ping(c)
				_ = c.Close()
			}
			if err == nil {
				t.Fatal("was let in")
			}
		})
	}
}

func TestRotation(t *testing.T) {
	old, fresh := newCA(t), newCA(t)
	cons := newConsul(t, old)
	activator, hello := source(t, cons), source(t, cons, "hello")
	addr, _ := serve(t, hello.ServerConfig())
	open, err := activator.Dial(t.Context(), addr, "hello")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = open.Close() }()
	if err := ping(open); err != nil {
		t.Fatal(err)
	}

	// A restarted agent may have a lower index, and even the same.
	cons.set(3, fresh, old, fresh)
	deadline := time.Now().Add(15 * time.Second)
	for {
		if _, err := try(t.Context(), activator, addr, "hello"); err != nil {
			t.Fatalf("during rotation: %v", err)
		}
		if served(t, activator, addr).CheckSignatureFrom(fresh.cert) == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the new leaf was not taken into use")
		}
	}
	if err := ping(open); err != nil {
		t.Fatalf("the open connection was dropped: %v", err)
	}

	// The old root is removed: its certificates are refused, resumed or not.
	cert, key := old.leaf(t, "web")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	knock := func() error { return dialOnce(addr, cfg) }
	if err := knock(); err != nil {
		t.Fatal(err)
	}
	renewing := cfg.Clone() // Like an Envoy: it keeps its session, and gets a new leaf.
	renewing.ClientSessionCache, renewing.MaxVersion = tls.NewLRUClientSessionCache(1), tls.VersionTLS12
	if err := dialOnce(addr, renewing); err != nil {
		t.Fatal(err)
	}
	cons.set(3, fresh, fresh)
	for knock() == nil {
		if time.Now().After(deadline) {
			t.Fatal("a retired root is still trusted")
		}
	}
	cert, key = fresh.leaf(t, "web")
	if renewing.Certificates[0], err = tls.X509KeyPair(cert, key); err != nil {
		t.Fatal(err)
	}
	if err := dialOnce(addr, renewing); err != nil {
		t.Fatalf("a client was refused for its session under the old root: %v", err)
	}
	if _, err := try(t.Context(), activator, addr, "hello"); err != nil {
		t.Fatalf("a session of before was in the way: %v", err)
	}
}

func dialOnce(addr string, cfg *tls.Config) error {
	c, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	return ping(c)
}

// served is the certificate that a full handshake presents.
func served(t *testing.T, s *mesh.Source, addr string) *x509.Certificate {
	t.Helper()
	cfg, err := s.ClientConfig("hello")
	if err != nil {
		t.Fatal(err)
	}
	cfg.ClientSessionCache = nil
	c, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	return c.ConnectionState().PeerCertificates[0]
}

func TestNotReady(t *testing.T) {
	if _, err := new(mesh.Source).Dial(t.Context(), "127.0.0.1:1", "hello"); err == nil || !strings.Contains(err.Error(), "no mesh certificates yet") {
		t.Fatalf("got %v", err)
	}
}
