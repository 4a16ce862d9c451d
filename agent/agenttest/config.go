// Package agenttest has what tests of the agent and of its command share.
package agenttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// SecureConfig writes the configuration of an agent that listens on free ports and speaks
// TLS at its gateway, and returns its file and the folder of its certificates. Nothing
// listens at its addresses of Nomad and Consul.
func SecureConfig(tb testing.TB, redirect bool) (file, certs string) {
	tb.Helper()
	certs = tb.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"*.wadi.localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})...)
	if err := os.WriteFile(filepath.Join(certs, "wild.pem"), both, 0o600); err != nil {
		tb.Fatal(err)
	}
	file = filepath.Join(tb.TempDir(), "wadi.hcl")
	hcl := fmt.Sprintf(`http { address = "127.0.0.1:0" }
metrics { address = "127.0.0.1:0" }
activator { address = "127.0.0.1:0" }
gateway {
  address = "127.0.0.1:0"
  tls {
    address  = "127.0.0.1:0"
    cert_dir = %q
    redirect = %v
  }
}
queue_proxy {
  driver = "docker"
}
nomad { address = "http://127.0.0.1:1" } # Not the usual ports: a Nomad may listen there.
consul { address = "http://127.0.0.1:1" }
`, certs, redirect)
	if err := os.WriteFile(file, []byte(hcl), 0o600); err != nil {
		tb.Fatal(err)
	}
	return file, certs
}
