package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/wadi-run/wadi/agent/config"
)

// secureConfig is an agent with TLS at its gateway, and the folder of its certificates.
func secureConfig(t *testing.T, redirect bool) (file, certs string) {
	t.Helper()
	certs = t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"*.wadi.localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})...)
	if err := os.WriteFile(filepath.Join(certs, "wild.pem"), both, 0o600); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "wadi.hcl")
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
nomad { address = "http://127.0.0.1:1" } # Nobody's: somebody may run his own at the usual ports.
consul { address = "http://127.0.0.1:1" }
`, certs, redirect)
	if err := os.WriteFile(file, []byte(hcl), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, certs
}

func TestGatewayURL(t *testing.T) {
	for _, redirect := range []bool{false, true} {
		file, _ := secureConfig(t, redirect)
		cfg, problems := config.Load([]string{file}, func(string) string { return "" }, config.Flags{Name: "one"})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		n, err := newNode(t.Context(), cfg, hclog.NewNullLogger(), io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		defer n.close()
		_, plain, _ := net.SplitHostPort(n.gatewayServer.Addr().String())
		_, secure, _ := net.SplitHostPort(n.tlsAddress())
		want := "http://hello.wadi.localhost:" + plain
		if redirect {
			want = "https://hello.wadi.localhost:" + secure
		}
		if got := n.gatewayURL("hello"); got != want {
			t.Errorf("redirect %v: got %s, want %s", redirect, got, want)
		}
	}
}

// An agent refuses to start with a certificate that can't be used.
func TestAgent_BrokenCertificate(t *testing.T) {
	file, certs := secureConfig(t, false)
	b := newBench(t)
	for name, text := range map[string]string{"broken.pem": "no certificate", "broken.key": "no key"} {
		if err := os.WriteFile(filepath.Join(certs, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := b.wadi(t, "agent", "-config", file)
	if o.code != 1 || !strings.Contains(o.stderr, "gateway.tls.cert_dir: ") || !strings.Contains(o.stderr, filepath.Join(certs, "broken.pem")) {
		t.Errorf("got %+v", o)
	}
	if err := os.RemoveAll(certs); err != nil {
		t.Fatal(err)
	}
	o = b.wadi(t, "agent", "-config", file)
	if o.code != 2 || !strings.Contains(o.stderr, "wadi.hcl:8,") || !strings.Contains(o.stderr, "there is no folder") {
		t.Errorf("got %+v", o)
	}
}
