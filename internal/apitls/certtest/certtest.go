// Package certtest makes authorities and certificates for tests.
package certtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/wadi-run/wadi/internal/apitls"
)

// Authority signs certificates.
type Authority struct {
	PEM string

	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority that nothing else knows.
func NewAuthority(t testing.TB) Authority {
	t.Helper()
	a, err := Make()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Make is NewAuthority outside a test.
func Make() (Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Authority{}, err
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return Authority{}, err
	}
	cert, err := x509.ParseCertificate(der)
	return Authority{PEM: asPEM("CERTIFICATE", der), cert: cert, key: key}, err
}

// Files writes a certificate for names and addresses, its key and the authority into a
// folder: api.pem, api.key and ca.pem. It is good for a server and for a client.
func (a Authority) Files(t testing.TB, dir string, serial int64, names ...string) apitls.Files {
	t.Helper()
	f, err := a.Write(dir, serial, names...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// Write is Files outside a test.
func (a Authority) Write(dir string, serial int64, names ...string) (apitls.Files, error) {
	f := apitls.Files{Cert: filepath.Join(dir, "api.pem"), Key: filepath.Join(dir, "api.key"), CA: filepath.Join(dir, "ca.pem")}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return f, err
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	if err != nil {
		return f, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return f, err
	}
	for path, text := range map[string]string{f.Cert: asPEM("CERTIFICATE", der), f.Key: asPEM("PRIVATE KEY", pkcs8), f.CA: a.PEM} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return f, err
		}
	}
	return f, nil
}

func asPEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
