package gateway_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-run/wadi/proxy/gateway"
)

// issued is a certificate of the tests' own authority.
type issued struct{ cert, key string }

// issue makes a certificate for hosts; the serial identifies it in handshakes.
func issue(t *testing.T, serial int64, expires time.Duration, hosts ...string) issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return issueWith(t, key, x509.Certificate{
		SerialNumber: big.NewInt(serial), DNSNames: hosts,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(expires),
	})
}

func issueWith(t *testing.T, key crypto.Signer, tmpl x509.Certificate) issued {
	t.Helper()
	tmpl.Subject = pkix.Name{CommonName: "ignored.example.com"}
	tmpl.BasicConstraintsValid = true
	der, err := x509.CreateCertificate(rand.Reader, &tmpl, &tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return issued{
		cert: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		key:  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})),
	}
}

// put writes a file into a folder.
func put(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// putPair writes NAME.pem and NAME.key.
func (i issued) putPair(t *testing.T, dir, name string) {
	t.Helper()
	put(t, dir, name+".pem", i.cert)
	put(t, dir, name+".key", i.key)
}

func loadCerts(t *testing.T, dir string) *gateway.Certificates {
	t.Helper()
	c, err := gateway.LoadCertificates(dir, nil, hclog.NewNullLogger(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// handshake connects to a server with the certificates and returns the serial of the
// certificate in its handshake.
func handshake(t *testing.T, c *gateway.Certificates, client *tls.Config) (int64, error) {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	deadline := time.Now().Add(30 * time.Second)
	_, _ = ours.SetDeadline(deadline), theirs.SetDeadline(deadline)
	done := make(chan error, 1)
	go func() {
		conn := tls.Server(theirs, c.TLSConfig())
		done <- conn.HandshakeContext(context.Background())
	}()
	client.InsecureSkipVerify = true
	conn := tls.Client(ours, client)
	err := conn.HandshakeContext(t.Context())
	if err != nil {
		ours.Close()
		<-done
		return 0, err
	}
	if err := <-done; err != nil {
		return 0, err
	}
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
}

// shows wants the certificate that answers for a name.
func shows(t *testing.T, c *gateway.Certificates, name string, want int64) {
	t.Helper()
	if got, err := handshake(t, c, &tls.Config{ServerName: name}); err != nil || got != want {
		t.Errorf("for %q: got certificate %d, %v; want %d", name, got, err, want)
	}
}
