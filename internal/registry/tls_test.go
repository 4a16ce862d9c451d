package registry_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wadi-run/wadi/internal/registry"
)

// authority makes a certificate for example.com of an authority of its own, good until a time.
func authority(t *testing.T, until time.Time) (ca []byte, leaf tls.Certificate) {
	t.Helper()
	caKey, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, caKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{"example.com"}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, c, root, key.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: key}
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// HTTP/2 is spoken where a registry offers it.
func TestResolve_HTTP2(t *testing.T) {
	var major atomic.Int32
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		major.Store(int32(r.ProtoMajor))
		manifest(w, r)
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	host := strings.TrimPrefix(srv.URL, "https://")
	if got, err := resolve(t, resolver(t, registry.Settings{}), host+"/team/web:1", registry.Credentials{}); got != digest || err != nil || major.Load() != 2 {
		t.Errorf("got %q, %v by HTTP/%d", got, err, major.Load())
	}
}

// Authorities are those of images.ca_file, or Docker's for one registry.
func TestResolve_TLS(t *testing.T) {
	ca, leaf := authority(t, time.Now().Add(time.Hour))
	_, expired := authority(t, time.Now().Add(-time.Hour))
	key, err := x509.MarshalECPrivateKey(leaf.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	var cert atomic.Pointer[tls.Certificate]
	f := &fake{}
	var sawClient atomic.Bool
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sawClient.Store(len(r.TLS.PeerCertificates) > 0)
		manifest(w, r)
	}))
	f.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.TLS = &tls.Config{
		ClientAuth:     tls.RequestClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert.Load(), nil },
	}
	f.StartTLS()
	defer f.Close()
	_, port, _ := net.SplitHostPort(f.Listener.Addr().String())
	host := "example.com:" + port
	dir := t.TempDir()
	write(t, filepath.Join(dir, "ca.pem"), ca)
	certs := filepath.Join(dir, "certs.d")
	write(t, filepath.Join(certs, host, "ca.crt"), ca)
	write(t, filepath.Join(certs, host, "client.cert"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Certificate[0]}))
	write(t, filepath.Join(certs, host, "client.key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key}))
	write(t, filepath.Join(certs, host, "README"), []byte("x"))
	broken := filepath.Join(dir, "broken")
	write(t, filepath.Join(broken, host, "ca.crt"), []byte("x"))
	for name, tt := range map[string]struct {
		s      registry.Settings
		host   string
		cert   tls.Certificate
		words  string // Empty: it works.
		client bool
	}{
		"unknown authority":   {s: registry.Settings{}, host: host, cert: leaf, words: "unknown authority"},
		"ca_file":             {s: registry.Settings{CAFile: filepath.Join(dir, "ca.pem")}, host: host, cert: leaf},
		"certs_dir":           {s: registry.Settings{CertsDir: certs}, host: host, cert: leaf, client: true},
		"both":                {s: registry.Settings{CertsDir: certs, CAFile: filepath.Join(dir, "ca.pem")}, host: host, cert: leaf, client: true},
		"broken certs_dir":    {s: registry.Settings{CertsDir: broken}, host: host, cert: leaf, words: "images.certs_dir"},
		"certs_dir of others": {s: registry.Settings{CertsDir: certs}, host: "other.test:" + port, cert: leaf, words: "certificate"},
		"another name":        {s: registry.Settings{CAFile: filepath.Join(dir, "ca.pem")}, host: "other.test:" + port, cert: leaf, words: "for another name"},
		"expired":             {s: registry.Settings{CAFile: filepath.Join(dir, "ca.pem")}, host: host, cert: expired, words: "certificate"},
		"insecure":            {s: registry.Settings{InsecureRegistries: []string{host}}, host: host, cert: expired},
		"insecure by host":    {s: registry.Settings{InsecureRegistries: []string{"example.com"}}, host: host, cert: expired},
		"insecure other port": {s: registry.Settings{InsecureRegistries: []string{"example.com:1"}}, host: host, cert: leaf, words: "certificate"},
	} {
		cert.Store(&tt.cert)
		tt.s.AllowNetworks = ownMachine
		r, err := registry.New(registry.Options{Settings: tt.s, DNS: dns(t, always("127.0.0.1"))})
		if err != nil {
			t.Fatal(err)
		}
		got, err := resolve(t, r, tt.host+"/team/web:1", own)
		if tt.words == "" && (got != digest || err != nil || sawClient.Load() != tt.client) {
			t.Errorf("%s: %q, %v, client certificate %v", name, got, err, sawClient.Load())
		}
		if tt.words != "" {
			wantKind(t, err, registry.ErrUnavailable, tt.words)
		}
	}
}
